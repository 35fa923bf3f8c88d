"""A codebook's parse, slow and obvious: the oracle for the walk. Written from the rules, not from the walk."""

from functools import cache


def is_identifier(byte: int) -> bool:
    return byte >= 128 or chr(byte).isalnum() or byte == ord("_")


def inside(text: bytes, at: int) -> bool:
    return 0 < at < len(text) and is_identifier(text[at - 1]) and is_identifier(text[at])


def allowed(text: bytes, begin: int, end: int, whole: bool) -> bool:
    kinds = [is_identifier(byte) for byte in text[begin:end]]
    crosses = len(set(kinds)) > 1
    return not (whole and crosses and (inside(text, begin) or inside(text, end)))


def slow_parse(text: bytes, strings: list[bytes], parse: str, whole: bool) -> list[bytes]:
    """The strings that a parse cuts the text into."""

    @cache
    def ends(begin: int) -> list[int]:
        return sorted(
            begin + len(string)
            for string in strings
            if text.startswith(string, begin) and allowed(text, begin, begin + len(string), whole)
        )

    @cache
    def fewest(begin: int) -> int:
        return 0 if begin == len(text) else 1 + min(fewest(end) for end in ends(begin))

    def choice(begin: int) -> int:
        if parse == "greedy":
            return max(ends(begin))
        if parse == "lookahead":
            return max(ends(begin), key=lambda end: (max(ends(end), default=end), end))
        return max(ends(begin), key=lambda end: (-fewest(end), end))

    pieces, begin = [], 0
    while begin < len(text):
        end = choice(begin)
        pieces.append(text[begin:end])
        begin = end
    return pieces


def keeps_rules(string: bytes, lines: bool, indentation: bool, apart: bool, longest: int) -> bool:
    """Whether a string of a set keeps the rules that depend on nothing around it."""
    if len(string) > longest:
        return False
    if lines and b"\n" in string[:-1]:
        return False
    if indentation:
        for at in range(1, len(string)):
            blanks = string[:at].endswith((b"  ", b"\t ", b"\t"))
            if blanks and string[at] not in b" \t\n":
                return False
    if apart:
        bare = string[1:] if string[:1] == b" " and len(string) > 1 else string
        return len({is_identifier(byte) for byte in bare}) == 1
    return True
