"""A vocabulary of the words that many texts of many groups have, and no others.

A vocabulary is published with a model's weights. What stands in the texts of few groups, a guest's
name say, must not be in it: a token stays if it occurs in at least 20 texts of at least 5 groups.
"""

import json
from collections import defaultdict
from collections.abc import Sequence

TEXTS, GROUPS = 20, 5  # in which a token must occur, at the least
ASCII = tuple(map(chr, range(33, 127)))


def kept_tokens(
    vocabulary: dict[str, int],
    special: Sequence[str],
    ids: Sequence[Sequence[int]],
    groups: Sequence[str],
) -> list[str]:
    """The tokens that stay, in their old order.

    ids: of the tokens of each text; groups: of each text, its hotel say. Special tokens and the
    single characters of ASCII always stay, so that any word of theirs can still be spelled.
    """
    texts: dict[int, int] = defaultdict(int)
    seen: dict[int, set[str]] = defaultdict(set)
    for of_text, group in zip(ids, groups, strict=True):
        for token in set(of_text):
            texts[token] += 1
            seen[token].add(group)
    common = {i for i, count in texts.items() if count >= TEXTS and len(seen[i]) >= GROUPS}
    always = {*special, *ASCII, *(f"##{character}" for character in ASCII)}
    by_id = sorted(vocabulary, key=vocabulary.__getitem__)
    return [token for token in by_id if token in always or vocabulary[token] in common]


def pruned_tokenizer(description: str, kept: Sequence[str]) -> str:
    """A WordPiece tokenizer's JSON with the tokens `kept` alone, numbered in their order.

    ValueError for a tokenizer of another kind.
    """
    tokenizer = json.loads(description)
    if tokenizer["model"]["type"] != "WordPiece":
        raise ValueError(f"a {tokenizer['model']['type']} vocabulary cannot be pruned; use a BERT")
    number = {token: i for i, token in enumerate(kept)}
    tokenizer["model"]["vocab"] = number
    added = [token for token in tokenizer["added_tokens"] if token["content"] in number]
    tokenizer["added_tokens"] = [{**token, "id": number[token["content"]]} for token in added]
    special = tokenizer["post_processor"].get("special_tokens", {})
    for token in special.values():
        token["ids"] = [number[name] for name in token["tokens"]]
    return json.dumps(tokenizer, ensure_ascii=False)
