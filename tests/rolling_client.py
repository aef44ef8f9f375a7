"""A service that asks on and on under ids that it knows: `python -m tests.rolling_client CONFIG NAME TENANTS PER_S`.

Run under one release or another. It prints a line when its first reply is there, asks until its input ends, waits for
every reply, and prints what came as JSON.
"""

import asyncio
import json
import sys
from dataclasses import asdict

from headrace import Headrace, HeadraceError

TEXTS = [f"{verb} {act} the light in the {room}"
         for verb in ("turn", "switch") for act in ("on", "off") for room in ("kitchen", "bathroom")]
EVERY_S = 0.05  # so often some are asked together


async def main(config: str, name: str, tenants: list[str], per_s: float) -> None:
    """Ask until the input ends, then wait for all."""
    replies: dict[str, dict[str, object]] = {}

    async def ask(client: Headrace, number: int) -> None:
        tenant, text = tenants[number % len(tenants)], TEXTS[number // len(tenants) % len(TEXTS)]
        try:
            reply = await client.predict(tenant, text, lang="en", deadline=120, id=f"{name}-{number}")
            replies[f"{name}-{number}"] = {**asdict(reply), "stages_us": None}
        except HeadraceError as error:
            replies[f"{name}-{number}"] = {"tenant": tenant, "text": text, "error": f"{error.code}: {error}"}

    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    async with Headrace(config) as client:
        await ask(client, 0)
        print(flush=True)
        asking: list[asyncio.Task[None]] = []
        while not ended.done():
            begin = len(asking) + 1
            asking += [asyncio.create_task(ask(client, n)) for n in range(begin, begin + round(per_s * EVERY_S))]
            await asyncio.sleep(EVERY_S)
        await asyncio.gather(*asking)
    json.dump({"asked": [f"{name}-{number}" for number in range(len(asking) + 1)], "replies": replies}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3].split(","), float(sys.argv[4])))
