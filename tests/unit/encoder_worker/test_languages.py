"""A ring whose encoder cannot read one of its languages is refused by name."""

import pytest

pytest.importorskip("tokenizers")

from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import BPE, WordPiece
from tokenizers.pre_tokenizers import Whitespace

from encoder_worker.languages import SAMPLES, check_languages
from encoder_worker.tokens import Tokenizer
from infra.cli.main import main
from topology.errors import Misconfigured

RING = '[rings.x]\nlanguages = {languages}\nencoder = "{encoder}"\n[rings.x.cells.a]\n'


def tokenizer_of(folder, letters, model=WordPiece):
    """An encoder's folder whose tokenizer knows some letters, at the beginning of a word and in it."""
    pieces = ["[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    known = WordPiece(vocab, unk_token="[UNK]") if model is WordPiece else BPE(vocab, [], unk_token="[UNK]")
    fast = FastTokenizer(known)
    fast.pre_tokenizer = Whitespace()
    fast.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text("{}")
    return Tokenizer(folder, 100)


@pytest.mark.parametrize("model", [WordPiece, BPE])
def test_only_languages_whose_script_the_vocabulary_has_are_taken(tmp_path, model):
    tokenizer = tokenizer_of(tmp_path, [*"abcdefghijklmnopqrstuvwxyz", *set(SAMPLES["ru"] + SAMPLES["el"])], model)
    check_languages("x", "enc", tokenizer, ["en", "ru", "el", "xx"])
    for lang in ("th", "zh", "ja", "ko", "hi", "ar"):
        with pytest.raises(Misconfigured, match=rf"rings\.x: '{lang}' cannot be read by the encoder 'enc'"):
            check_languages("x", "enc", tokenizer, ["en", lang])


def test_config_check_and_training_name_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tokenizer_of(tmp_path, "abc")
    (tmp_path / "data.jsonl").write_text('{"text": "a", "intent": "b"}\n' * 4)
    (tmp_path / "headrace.toml").write_text(RING.format(languages=["en", "th"], encoder=tmp_path))
    for command in (["config", "check"], ["head", "train", "acme", "data.jsonl"]):
        assert (main(command), "rings.x: 'th' cannot be read" in capsys.readouterr().err) == (2, True)
    (tmp_path / "headrace.toml").write_text(RING.format(languages=["en"], encoder=tmp_path))
    assert main(["config", "check"]) == 0
