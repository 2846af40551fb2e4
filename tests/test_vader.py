"""Compares the scores of `Analyzer::reference` with those of the reference implementation, vaderSentiment
3.3.2: for real tweets that people have rated, and for generated texts that use every rule. Compares the
scores of `Analyzer::new` for typographic texts with those for the same texts in ASCII."""

import itertools
import json
import random
import re
import statistics
import subprocess

import pytest
from conftest import EXAMPLES, ROOT
from vaderSentiment import vaderSentiment as reference

TWEETS = ROOT.parent / "shared" / "data" / "tweets_icwsm2014.tsv"
GENERATED = 200_000
MIN_EQUAL = 0.999
# The agreement of VADER with people, for these tweets.
AGREEMENT = 0.8722


def scores_by(name, texts):
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    done = subprocess.run([EXAMPLES / "score", "--by", name], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def share_of_equal_scores(texts):
    """Returns the share of texts with equal scores. Prints the texts with different scores."""
    analyzer = reference.SentimentIntensityAnalyzer()
    theirs = [analyzer.polarity_scores(text) for text in texts]
    mine = scores_by("reference", texts)
    assert len(mine) == len(texts)
    different = [(text, a, b) for text, a, b in zip(texts, theirs, mine) if a != b]
    for text, a, b in different[:20]:
        print(f"{text[:200]!r}\n  reference {a}\n  ours      {b}")
    print(f"{len(texts)} texts, {len(different)} differ")
    return 1 - len(different) / len(texts)


@pytest.fixture(scope="module")
def tweets():
    if not TWEETS.exists():
        pytest.skip("the 4,200 real tweets are missing (../shared/data)")
    rows = [line.split("\t", 2) for line in TWEETS.read_text(encoding="utf-8").splitlines()]
    return [(float(rating), text) for _, rating, text in rows]


def test_real_tweets_have_the_scores_of_the_reference(tweets):
    assert len(tweets) == 4200
    assert share_of_equal_scores([text for _, text in tweets]) >= MIN_EQUAL


def agreement(tweets, change=str):
    """Returns the correlation of the scores of the changed texts with the ratings of the original ones."""
    scores = [score["compound"] for score in scores_by("ours", [change(text) for _, text in tweets])]
    return statistics.correlation(scores, [rating for rating, _ in tweets])


def full_width(text):
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


TYPOGRAPHY = {
    "apostrophes": lambda text: text.replace("'", "’"),
    "quotes": lambda text: re.sub(r'"([^"]*)"', r"“\1”", text),
    "full-width characters": full_width,
    "an invisible character after each word": lambda text: text.replace(" ", "\ufe0f "),
}


def test_scores_of_real_tweets_agree_with_people(tweets):
    assert agreement(tweets) >= AGREEMENT


@pytest.mark.parametrize("change", TYPOGRAPHY.values(), ids=TYPOGRAPHY)
def test_typographic_tweets_have_the_scores_of_the_same_tweets_in_ascii(tweets, change):
    texts = [text for _, text in tweets]
    assert scores_by("ours", map(change, texts)) == scores_by("ours", texts)


def test_dashes_and_ellipses_separate_words(tweets):
    assert agreement(tweets, lambda text: re.sub(r"\s*(--+| - )\s*", "—", text)) >= AGREEMENT - 0.0002
    assert agreement(tweets, lambda text: re.sub(r"\.\.\.+", "…", text)) >= AGREEMENT


def test_texts_in_ascii_have_the_scores_of_the_reference():
    texts = [text for text in generated() if text.isascii()]
    assert len(texts) > GENERATED / 4
    assert scores_by("ours", texts) == scores_by("reference", texts)


RULES = """never so without doubt never this at least very least no nor or but BUT not NOT isn't isn’t ISN'T
    can't cannot kind of sort of just enough the shit the bomb bad ass badass bus stop yeah right
    kiss of death to die for beating heart kind-of uh-uh ain't so this least without doubt""".split()
GLUE = ["", " ", "  ", "\n", "\t", "\u00a0", "\u3000", ",", ".", "!", "?", "...", "!!!", "???", "!?", "-", "’", "'", '"', "(", ")", "/"]
SCRIPTS = ["größe", "ÜBER", "дом", "ДОМ", "漢字", "مرحبا", "ǅ", "ß", "ϒ", "K", "İ", "Σίσυφος", "ＬＯＶＥ", "e\u0301", "\u200d", "🏽"]


def generated():
    rng = random.Random(3)
    analyzer = reference.SentimentIntensityAnalyzer()
    rated = sorted(analyzer.lexicon)
    emoji = sorted(analyzer.emojis)
    boosters = sorted(reference.BOOSTER_DICT)
    negations = sorted(reference.NEGATE)
    neutral = "the a chair is was it of to and bitcoin price today we you table went 42 3.14 @user #tag http://x.y/z".split()
    pools = [rated, rated, neutral, neutral, boosters, negations, RULES, RULES, emoji, SCRIPTS]
    cases = [str, str, str, str.upper, str.capitalize, str.swapcase]
    for _ in range(GENERATED):
        parts = []
        for _ in range(int(rng.expovariate(1 / 9))):
            word = rng.choice(cases)(rng.choice(rng.choice(pools)))
            if rng.random() < 0.15:
                word = rng.choice(GLUE) + word
            parts.append(word + (" " if rng.random() < 0.8 else rng.choice(GLUE)))
        text = "".join(parts)
        yield text * 40 if rng.random() < 0.002 else text


def test_generated_texts_have_the_scores_of_the_reference():
    assert share_of_equal_scores(list(generated())) >= MIN_EQUAL


def test_each_word_emoji_and_idiom_has_the_score_of_the_reference():
    analyzer = reference.SentimentIntensityAnalyzer()
    words = [*analyzer.lexicon, *analyzer.emojis, *reference.SPECIAL_CASES, *reference.BOOSTER_DICT, *reference.NEGATE]
    frames = ["{}", "{}!", "what {} good", "one two three {} four", "a b {} c d GOOD", "no {} or good", "{}{}"]
    texts = [frame.format(word, word) for word, frame in itertools.product(words, frames)]
    assert share_of_equal_scores(texts) == 1
