"""Which ring to ask where a caller names no language: the likeliest one in which the tenant has a head."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from producers.language import LanguageIdentifier
from producers.reply import Reply
from topology.errors import UnknownTenant
from topology.pacing import Pacing

MOST = 10_000  # tenants and rings that are remembered


class Guesses:
    """Asks in one language of each ring, likeliest first, until one knows the tenant. A ring that does not is left out
    for `pacing.absent_s`: "stop" is asked in French at once where a tenant has only a French head."""

    def __init__(self, languages: Mapping[str, Sequence[str]], pacing: Pacing) -> None:
        self._ring = {language: ring for ring, spoken in reversed([*languages.items()]) for language in spoken}
        self._identifier, self._pacing = LanguageIdentifier(self._ring), pacing
        self._absent: dict[tuple[str, str], float] = {}  # (tenant, ring) → until when, by the event loop's clock

    def may_guess(self, text: object) -> bool:
        """Whether there is more than one ring, and a text to guess from."""
        return len(set(self._ring.values())) > 1 and isinstance(text, str) and bool(text.strip())

    async def first_known(
        self, tenant: str, text: str, deadline_s: float, ask: Callable[[str, float], Awaitable[Reply]]
    ) -> Reply:
        """The reply of the first ring that knows the tenant. Raises: what `ask` raises; UnknownTenant of the likeliest
        ring where none does."""
        time = asyncio.get_running_loop().time
        ends_s, unknown = time() + deadline_s, None
        for ring, language in self._candidates(tenant, text, time()):
            if unknown is not None and time() >= ends_s:
                break
            try:
                return await ask(language, ends_s - time())
            except UnknownTenant as error:
                unknown = unknown or error
                if len(self._absent) >= MOST:
                    self._absent.clear()
                self._absent[tenant, ring] = time() + self._pacing.absent_s
        assert unknown is not None
        raise unknown

    def _candidates(self, tenant: str, text: str, now_s: float) -> list[tuple[str, str]]:
        """(ring, its likeliest language), likeliest first; all of them where the tenant is absent everywhere."""
        found: dict[str, str] = {}
        for language in self._identifier.ranked(text):
            found.setdefault(self._ring[language], language)
        here = [(ring, language) for ring, language in found.items() if self._absent.get((tenant, ring), 0.0) <= now_s]
        return here or list(found.items())
