"""The printable characters that byte-level BPE writes bytes as."""


def byte_characters() -> list[str]:
    """The character that stands for each byte in byte-level BPE: itself if it prints, else one from 256 up (GPT-2)."""
    printing = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    stand_ins = iter(range(256, 512))
    return [chr(value if value in printing else next(stand_ins)) for value in range(256)]
