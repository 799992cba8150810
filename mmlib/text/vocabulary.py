"""A vocabulary of only those words that occur in many texts of many groups.

A vocabulary is published with the weights of a model. Words of few groups, e.g. a rare name, must
not be in it: a token is kept if it is in at least 20 texts of at least 5 groups.
"""

import json
from collections import defaultdict
from collections.abc import Sequence

TEXTS, GROUPS = 20, 5  # minimum numbers in which a token must occur
ASCII = tuple(map(chr, range(33, 127)))


def kept_tokens(
    vocabulary: dict[str, int],
    special: Sequence[str],
    ids: Sequence[Sequence[int]],
    groups: Sequence[str],
) -> list[str]:
    """The tokens that are kept, in their old order.

    ids: token ids of each text; groups: group of each text, e.g. its hotel. Special tokens and
    single ASCII characters are always kept, so that every ASCII word can still be spelled.
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
    """A WordPiece tokenizer's JSON reduced to the tokens `kept`, numbered in their order.

    ValueError for one of another type, or whose post-processor is no TemplateProcessing.
    """
    tokenizer = json.loads(description)
    if tokenizer["model"]["type"] != "WordPiece":
        raise ValueError(f"a {tokenizer['model']['type']} vocabulary cannot be pruned; use a BERT")
    number = {token: i for i, token in enumerate(kept)}
    tokenizer["model"]["vocab"] = number
    added = [token for token in tokenizer["added_tokens"] if token["content"] in number]
    tokenizer["added_tokens"] = [{**token, "id": number[token["content"]]} for token in added]
    if (post := tokenizer["post_processor"] or {}).get("type") != "TemplateProcessing":
        raise ValueError("only a tokenizer with a TemplateProcessing can be pruned; use another")
    special = post["special_tokens"]
    for token in special.values():
        token["ids"] = [number[name] for name in token["tokens"]]
    return json.dumps(tokenizer, ensure_ascii=False)
