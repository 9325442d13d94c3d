"""Texts to test with, our own, in many scripts. No file outside this folder is needed for them."""

from __future__ import annotations

import os
from pathlib import Path

# Public data sets that are no part of the project; what needs them does without where they are not there.
SHARED_DATA = Path(os.environ.get("LAMINA_DATA") or Path(__file__).parents[2] / "shared" / "data")

# Unlike each other in script, direction, normal form and in what a tokenizer does to them.
SCRIPTS = {
    "english": "The bank raised its rates; we sat on the river bank.",
    "accents": "Ça déjà vu? Größe, naïve façade — Ångström's œuvre.",
    "decomposed": "Cafe\u0301 au lait a\u0300 la cre\u0300me bru\u0302le\u0301e",
    "vietnamese": "Hôm qua trời mưa rất to ở Huế.",
    "turkish": "İstanbul'da ılık bir akşam",
    "polish": "Zażółć gęślą jaźń, 12,5% więcej!",
    "russian": "Вчера шёл дождь, а сегодня светит солнце.",
    "greek": "Ο ποταμός κυλά αργά προς τη θάλασσα.",
    "hebrew": "הנהר זורם לאט אל הים",
    "hebrew_points": "שָׁלוֹם לְכֻלָּם",
    "arabic": "يجري النهر ببطء نحو البحر، أليس كذلك؟",
    "hindi": "नदी धीरे-धीरे समुद्र की ओर बहती है।",
    "tamil": "ஆறு மெதுவாக கடலை நோக்கி ஓடுகிறது",
    "bengali": "নদীটি ধীরে ধীরে সাগরের দিকে বয়ে যায়।",
    "thai": "แม่น้ำไหลช้าๆไปสู่ทะเล",
    "lao": "ແມ່ນ້ຳໄຫຼຊ້າໆ",
    "khmer": "ទន្លេហូរយឺតៗ",
    "burmese": "မြစ်သည်ဖြည်းညှင်းစွာစီးဆင်းသည်",
    "chinese": "河水慢慢流向大海，银行昨天加息了。",
    "japanese": "川はゆっくりと海へ流れる。東京タワーで待つ。",
    "korean": "강물은 천천히 바다로 흐른다.",
    "georgian": "მდინარე ნელა მიედინება",
    "amharic": "ወንዙ ቀስ ብሎ ይፈሳል።",
    "gothic": "𐌰𐌷𐍅𐌰 𐍂𐌹𐌽𐌽𐌹𐌸",  # beyond the basic plane: two UTF-16 units a letter
    "mathematical": "𝒇(𝑥) = 𝟐𝑥 + 𝟏",
    "emoji": "family 👩‍👩‍👧‍👦 wave 👋🏽 flag 🇫🇷 heart ❤️ done ✅",
    "mixed": "Tokyo東京 and Москва, 3.14€ @user #tag http://example.org/a?b=c",
    "ligatures": "ﬁne oﬃce Ǆ ß ẞ ĳ",
    "fullwidth": "ＡＢＣ　１２３！",
    "spaces": "a\u00a0b\u2003c\u3000d\u200be\ufefff",
    "lines": "one\ntwo\r\nthree\u2028four\u2029five\x85six\x0bseven",
    "controls": "a\x00b\x07c\x7fd\x1be\ufffdf",
    "stacked": "Z\u0351\u036b\u0343\u0323a\u0316\u0317lgo\u0300\u0301\u0302",
    "special_names": "Is [CLS] a word? [MASK] and [SEP], [unk].",
    "long_word": "pneumono" * 14 + " ends",  # beyond the 100 characters that WordPiece takes for a word
}
TEXTS = list(SCRIPTS.values())

# Texts that yield few tokens or none.
BARE = ["", " ", "\t\r\n", "\x00", "\x01\x02\x1f", "\u200b\u200d", ".", "a", "的", "\u0301", "\ue000"]

_SUBJECTS = ("the river", "a quiet bank", "our old model", "every layer", "the third word", "nobody here", "this text")
_VERBS = ("carries", "forgets", "repeats", "measures", "believes", "crosses", "mends")
_OBJECTS = ("the wide sea", "its own name", "a broken sentence", "seven numbers", "the long winter", "what was said")


def prose(n_sentences: int, *, start: int = 0) -> str:
    """Plain English of a given length, no two neighbouring sentences the same: about seven tokens a sentence."""
    sentences = (
        f"{_SUBJECTS[i % 7].capitalize()} {_VERBS[(i * 3 + i // 7) % 7]} {_OBJECTS[(i * 5 + i // 42) % 6]}."
        for i in range(start, start + n_sentences)
    )
    return " ".join(sentences)
