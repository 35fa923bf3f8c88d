"""Where a tokenizer cuts text into pieces before it merges: patterns, and scanners that cut the same without a regex.

A scanner reads UTF-8 bytes and finds one piece's end at a time. Each rule has an exact scanner, written against the
pattern's alternatives in order, and the two with words also have an automaton of a few states that takes plain ASCII
one table lookup per byte and hands over to the exact scanner wherever anything else comes up.

The classes of characters are those of Oniguruma in `tokenizers` 0.23 (Unicode 16), kept here as a table so that text is
cut alike on every machine and by every version of it.
"""

import zlib
from base64 import b85decode
from functools import cache
from typing import Any

import numpy as np
from numba.extending import intrinsic

from byteproxy.jit import nb

WORDS_PATTERN = "|".join(
    (
        r" ?[\p{L}\p{M}]+",
        r" ?\p{N}{1,3}",
        r" ?[^\s\p{L}\p{M}\p{N}]+\r?\n?",
        # The bounds keep the regex engine from giving up on (or panicking over) megabytes of blanks.
        r"[^\S\n]{0,256}\n",
        r"[^\S\n]{1,256}(?= \S)",
        r"[^\S\n]{1,256}",
    )
)
LINES_PATTERN = r"[^\n]*\n|[^\n]+"
MOST_BLANKS = 256

# Rules. WHOLE takes a stretch of valid text as one piece, GPT2 is what ByteLevel does with `use_regex`:
#   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
WORDS, LINES, WHOLE, GPT2 = range(4)

# Classes of characters, one bit each; 0 stands for the end of text and for bytes that aren't UTF-8.
LETTER, MARK, NUMBER, BLANK, NEWLINE, OTHER = 1, 2, 4, 8, 16, 32
INK = LETTER | MARK | NUMBER | OTHER
PACKED_CLASSES = """
c-n1NF>D*j6~&)jQh!EtGP`mP%XKc;T^}w>IsukaLsAVXBLO8N0O@HYB}izek$fq1s${!a>X3kPMLCTbrx5KF(j9OhlN6-WSgAx@V<HG(#*K+I(isTEx
H;yE<gcU)azHTT?9T3=`TxIp|IL=Z*MP*9$_^kHKsoUO5+$CUL2gZRyn;Qz3E<${&aI79mLspj_EZWD=^_s}CXr(cuo=T4V!k7=!z2&-tnfKQfhILk7=
q&-!>T`IAA@oX(TpR{%UQ!j&rnIpL*QZze*@W%t?~`E!<Gz(OCdYp@g;8abOZWeJ1hPnV5YD%V1EXDz&e`E9|F%;OsTL2HWsBpQ!qz?yHbz`Q`)>B90Q
YNV#qnkQAisz&V`*3H7PLdkfkNElu=fhNwI9>A|-ZVlcKd2&_-MGErS*+@mc&IXXgfI&a(D}FXVG&!7*bc(X|Xh$gm76Y29+tmW>|aBQ`!*OBcxpfm?%
UJ}v2GO(ZmA<fJf<oSd9nRL)(Tn*<bd<iZeDFN(6y%=1^=Pl|c+{+K|b@h(^d*CKM6vxGBCo3RimX|B~YVdVYX0;(>HLQ5f;ajXbqiOUq-<xxpDWV{Pz
@DyksHODMsi#bmK&D1JBVI^^-4cQamD#&=Q&21x}^ww{4p*-1P$bBw{3{NhjD``8Z?=$Ll*nh`&v9HmksY|=`6s#JA(22>6HF{s}Kw<#?P`9oWv%BDxn
qV*Qf>~XsWX)<z+h!JbxR5GPb=q~If_^NUGIyEaen&48S8qGF%W4cVwLD@Dk^0B`tOsf5K)Z>b6WBCyjTim}buB$%51?q#I!jf140jAQVw=?#C00;YQn
i>|A=1iZNPa#BS7d}?bHA3@);osGP^Q!sDW9lKKptpk<V#|X2$*r!{pju|$8gzCe8CbSOmjKs6J+a;v<IvXl!dI2eJVI#!NnEn`YDIwW6ikM{{G*!Q~e
Ln{_b0N{lkNA1g>qAroTe>P|NZy(SuSBzuval7mSDRCLCk>2yV<0bFLT;L2Jq+4r1t1J~)n9SIadPY6Lq|r*Iwb)3wX)hnH)=)k6K`SUl3lOrA*E7-j6
ign4+AGBi87GWXe{?8T$4i|A9_hZ=~aa76^Mu;$7wt!nOS5237rhmf&|{6dXjLH6KI^#m+$!ZtSugp{bL6tQ=+loUlGbkGBf+q;?|GMOop3;rCEawRR3
W;sJRXU<Zk=sygaQwtc)Xg!Nnd*JM7dkua3jvU0>ELTnWTvTu!BPvG)K8n}b@SO(KblK6Kvs=zKagF|Z3VZknE>v&1AG6N9$mAn-3kRfVK$Gvv4;ySaR
ei&%pJ{cNsZWUpQW87bmUsnDja@CZV7fT%cUamd#!-zF@!AVE=23Xeq2D1Z5F#sh_e?7;t`<G&&6GM&E<T404j3-(>lxCg5u=x!u#(s5KR<!OjZlk1@v
n7Yj>z2B4>f1T_z2`%Mhap2o=bIc0@8NGjV_$P3=OV?tcW8pooiH9TDe23HNn5W3tgBGV|~4=HMO;-mYr)cuR!H60xL~I^WxH%5XE9zMhMBS=AD4zg$}
G<eF;>FFW3Rh?*Wm{KG5zhzXf5KyyTs*)vQ?SLskWLi*2HExXBAmCL}M}HEq*%JTw&%+<6LA$k>P5fiT3WcBTY`M<qL9w|y0OUlUa{&qXy-OFw1Gyp>+
2Y9WlG5?CT77wBP{c(P_5!vPV_^_3%%r%=<L08z7`+G4`;a;Xch*<dy80TFCjwb_u}A)O~}dksU7_ne<QxufY3ySE>&>5rjWBnd831cxw7Ec3{LSygSl
D0{S6p7Ibcf!{o2dF~ZNfv=9)HZ4p?l-^D3uq_oV;sIO01-|tLB2N4saPvrya_X>ID>@VNToCFRdQxL)8mB3o_Dqwsj%dG*yNq&OQ(`~Hw?2WFY>;cmz
l_(Rm3aL-*okk|u7@Bp_sYWw_`UazKGDYT5LEjY{i|6LKNU=L>d0|=xu)eyZdKtt9)RD3@X86ZR69}A{{%<zq3#I&Ov`%fp-ym#Wpm^3->lI2(Gjb3Kh
@o{ZD^WX{Fv&HZ@7h#wby`Q++VjAvlYv%|B|V;^G_z9!Ks_JW(x~4e+u3nw_i>@g(|@t{|vf#5W}8M$1I&|^vQ6G_B@9>I%$8AZbm>1ph~rJ*!q_2N92
e;HvVs4l)u(O=b7d_)Cyulv>}c6!XHc^$n0Or;{%ZS2ugpf)tLyVDARmS5*O>2#~|u3VxDThI|Ax2jltw<|2sMIO(l*833(%b#9DfuJF1&`rO`*v)z|t
PhW8r@7l)A$M7*nzJ&!(moO8WSUOfM*MWYBc_sp(>J3t3OiY|Naeemd0+Mz=2AD2Tm_=pALOLF&^ZS4F-+Zw;$_zjHR#!rWTWPa^eEd1*$w*Ad;^t1l}
|Ar@5
"""
"""Run lengths of the classes over all code points: varints of 8 x length + class, deflated."""
PACKED_ORDER = (OTHER, LETTER, MARK, NUMBER, BLANK)

# The automata: a row per state, a column per class of ASCII byte. What ends a piece says where: `here` before the byte
# just read, `past` after it, `back` one byte before `here`. `scan` leaves the piece to the exact scanner.
WORDS_AUTOMATON = """
         letter  digit   other   quote   space   tab     return  newline
start    letters digit   others  others  space   tabs    tabs    past
letters  letters here    here    here    here    here    here    here
digit    here    digits  here    here    here    here    here    here
digits   here    past    here    here    here    here    here    here
space    letters digit   others  others  spaces  tabs    tabs    past
spaces   back    back    back    back    spaces  tabs    tabs    past
tabs     here    here    here    here    spaces  tabs    tabs    past
others   here    here    others  others  here    here    return  past
return   here    here    here    here    here    here    here    past
"""
GPT2_AUTOMATON = """
         letter  digit   other   quote   space   tab     return  newline
start    letters digits  others  scan    space   tab     tab     tab
letters  letters here    here    here    here    here    here    here
digits   here    digits  here    here    here    here    here    here
others   here    here    others  others  here    here    here    here
space    letters digits  others  others  blanks  blanks  blanks  blanks
tab      here    here    here    here    blanks  blanks  blanks  blanks
blanks   back    back    back    back    blanks  blanks  blanks  blanks
"""
BACK, HERE, PAST, SCAN = 16, 17, 18, 19


CUTTING = ("Split", "Digits", "Punctuation", "UnicodeScripts", "FixedLength")
"""Pre-tokenizers of tokenizer.json that only cut, unless their behavior is to remove what they find."""


def rule_of(pre_tokenizer: dict[str, Any] | None) -> int | None:
    """The rule that cuts like a pre-tokenizer of a tokenizer.json, None where there is no scanner for it.

    Raises ValueError, saying why, where the pieces aren't the text's own bytes in byte-level spelling.
    """
    steps = steps_of(pre_tokenizer, "pretokenizers")
    byte_levels = [step for step in steps if step.get("type") == "ByteLevel"]
    if len(byte_levels) != 1:
        raise ValueError("its pre-tokenizer does not have exactly one ByteLevel")
    if byte_levels[0].get("add_prefix_space", True):
        raise ValueError("it adds a space in front of each text")
    for step in steps:
        removes = str(step.get("behavior")).lower() == "removed"
        if step not in byte_levels and (step.get("type") not in CUTTING or removes):
            raise ValueError(f"its pre-tokenizer {step.get('type')} may drop or replace text")
    *cuts, last = steps
    with_words = last.get("use_regex", True)
    if not cuts:
        return GPT2 if with_words else WHOLE
    isolated = str(cuts[0].get("behavior")).lower() == "isolated" and not cuts[0].get("invert")
    if last not in byte_levels or with_words or len(cuts) > 1 or not isolated:
        return None
    return {WORDS_PATTERN: WORDS, LINES_PATTERN: LINES}.get(cuts[0].get("pattern", {}).get("Regex"))


def steps_of(part: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, with sequences unrolled; key: what holds the steps of a sequence."""
    if not part:
        return []
    if part.get("type") != "Sequence":
        return [part]
    return [step for inner in part.get(key, []) for step in steps_of(inner, key)]


@cache
def classes() -> np.ndarray:
    """The class of every code point, uint8 [0x110000]; made once, do not write to it."""
    packed = zlib.decompress(b85decode("".join(PACKED_CLASSES.split())))
    runs, shift, value = [], 0, 0
    for byte in packed:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            runs.append(value)
            shift = value = 0
    lengths_and_classes = np.array(runs)
    table = np.repeat(np.array(PACKED_ORDER, np.uint8)[lengths_and_classes & 7], lengths_and_classes >> 3)
    table[ord("\n")] = NEWLINE
    return table


def automaton(rule: int) -> np.ndarray:
    """The next state (below 16) or ending for each state and byte, uint8 [16, 256]; all `scan` where there is none."""
    table = np.full((16, 256), SCAN, np.uint8)
    if rule not in (WORDS, GPT2):
        return table
    header, *rows = (line.split() for line in (WORDS_AUTOMATON if rule == WORDS else GPT2_AUTOMATON).split("\n")[1:-1])
    meaning = {"back": BACK, "here": HERE, "past": PAST, "scan": SCAN, **{row[0]: n for n, row in enumerate(rows)}}
    column_of = [header.index(_column(chr(byte))) for byte in range(128)]
    for state, (_, *targets) in enumerate(rows):
        table[state, :128] = [meaning[targets[column]] for column in column_of]
    return table


def _column(character: str) -> str:
    named = {" ": "space", "\r": "return", "\n": "newline", "'": "quote"}
    kinds = {LETTER: "letter", NUMBER: "digit", BLANK: "tab"}
    return named.get(character) or kinds.get(int(classes()[ord(character)]), "other")


@intrinsic
def pointer(typing_context, array):  # type: ignore[no-untyped-def]
    """Where an array's memory begins, to be indexed like the array: inner functions that take arrays count references.

    Nothing keeps the array alive or checks an index; negative ones don't wrap around.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return nb.types.CPointer(array.dtype)(array), generate


@nb.njit(cache=True, forceinline=True)
def piece_end(text, at, end, rule, classes, automaton, joined):  # type: ignore[no-untyped-def]
    """Where the piece that begins at `at` ends; `at` itself if the byte there isn't UTF-8.

    All tables are pointers (see `pointer`). text: uint8, read from `at` (below `end`) to `end`, which cuts a character
        like the end of text does.
    classes, automaton: what the functions of those names give.
    joined: uint8 [65536], 0 for two bytes that stand side by side in no symbol. No merge crosses them, so LINES and
        WHOLE end a piece there as well: shorter pieces, same symbols.
    """
    if rule in (LINES, WHOLE):
        return _stretch_end(text, at, end, rule, classes, joined)
    state, to, limit = 0, at, min(end, at + MOST_BLANKS + 2)
    while to < limit:
        state = np.int64(automaton[state << 8 | np.int64(text[to])])
        to += 1
        if state >= BACK:
            break
    # Branches and not `to += state - PAST`: as they are predicted, the next piece is begun before this state is known.
    if state == HERE:
        to -= 1
    elif state == BACK:
        to -= 2
    elif state != PAST:
        return _exact_end(text, at, end, rule, classes)
    if to - at > MOST_BLANKS:
        return _exact_end(text, at, end, rule, classes)
    return to


@nb.njit(cache=True)
def _exact_end(text, at, end, rule, classes):  # type: ignore[no-untyped-def]
    if rule == GPT2:
        return _gpt2_end(text, at, end, classes)
    return _word_end(text, at, end, classes)


@nb.njit(cache=True)
def _word_end(text, at, end, classes):  # type: ignore[no-untyped-def]
    """WORDS_PATTERN: the first alternative that matches at `at`."""
    kind, to = _after_one_space(text, at, end, classes)
    if kind & (LETTER | MARK):
        return _run_end(text, to, end, classes, LETTER | MARK)
    if kind & OTHER:
        to = _run_end(text, to, end, classes, OTHER)
        if to < end and text[to] == 13:
            to += 1
        if to < end and text[to] == 10:
            to += 1
        return to
    if kind & NUMBER:
        for _ in range(2):
            found = _character(text, to, end, classes)
            if not found & NUMBER:
                break
            to += found >> 8
        return to
    if kind & BLANK:
        return _blanks_end(text, at, end, classes)
    return to


@nb.njit(cache=True)
def _blanks_end(text, at, end, classes):  # type: ignore[no-untyped-def]
    """The last three alternatives of WORDS_PATTERN at a blank that isn't a single space before ink."""
    blanks, last, to, bounded = 0, at, at, at
    found = _character(text, to, end, classes)
    while found & BLANK and blanks < MOST_BLANKS + 2:
        last, to, blanks = to, to + (found >> 8), blanks + 1
        if blanks <= MOST_BLANKS:
            bounded = to
        found = _character(text, to, end, classes)
    if found & NEWLINE and blanks <= MOST_BLANKS:
        return to + 1
    if found & INK and 2 <= blanks <= MOST_BLANKS + 1 and text[last] == 32:
        return last
    return bounded


@nb.njit(cache=True)
def _gpt2_end(text, at, end, classes):  # type: ignore[no-untyped-def]
    """The pattern of ByteLevel's `use_regex`: the first alternative that matches at `at`."""
    if text[at] == 39:
        one = text[at + 1] if at + 1 < end else 0
        two = text[at + 2] if at + 2 < end else 0
        if one == 115 or one == 116 or one == 109 or one == 100:  # s t m d
            return at + 2
        if (one == 114 and two == 101) or (one == 118 and two == 101) or (one == 108 and two == 108):  # re ve ll
            return at + 3
    kind, to = _after_one_space(text, at, end, classes)
    if kind & LETTER:
        return _run_end(text, to, end, classes, LETTER)
    if kind & NUMBER:
        return _run_end(text, to, end, classes, NUMBER)
    if kind & (MARK | OTHER):
        return _run_end(text, to, end, classes, MARK | OTHER)
    last, found = at, _character(text, at, end, classes)
    to = at + (found >> 8)
    found = _character(text, to, end, classes)
    while found & (BLANK | NEWLINE):
        last, to = to, to + (found >> 8)
        found = _character(text, to, end, classes)
    return last if found & INK and last > at else to


@nb.njit(cache=True)
def _stretch_end(text, at, end, rule, classes, joined):  # type: ignore[no-untyped-def]
    """LINES_PATTERN or all valid text, or less where two bytes can't be merged across."""
    to = at
    while to < end:
        byte = text[to]
        if to > at and not joined[np.int64(text[to - 1]) << 8 | np.int64(byte)]:
            return to
        if byte < 0x80:
            to += 1
            if byte == 10 and rule == LINES:
                return to
        else:
            found = _character(text, to, end, classes)
            if found == 0:
                return to
            to += found >> 8
    return to


@nb.njit(cache=True, forceinline=True)
def _after_one_space(text, at, end, classes):  # type: ignore[no-untyped-def]
    """The class of the character at `at`, or of that after it where ` ?` takes a space, and where that one ends."""
    found = _character(text, at, end, classes)
    to = at + (found >> 8)
    if text[at] == 32:
        second = _character(text, to, end, classes)
        if second & INK:
            return second & 255, to + (second >> 8)
    return found & 255, to


@nb.njit(cache=True, forceinline=True)
def _run_end(text, at, end, classes, kinds):  # type: ignore[no-untyped-def]
    while True:
        found = _character(text, at, end, classes)
        if not found & kinds:
            return at
        at += found >> 8


@nb.njit(cache=True, forceinline=True)
def _character(text, at, end, classes):  # type: ignore[no-untyped-def]
    """256 x bytes + class of the character at `at`; 0 at the end and where Python's strict decoder finds none."""
    if at >= end:
        return 0
    if text[at] < 0x80:
        return np.int64(classes[text[at]]) | 1 << 8
    return _wide_character(text, at, end, classes)


@nb.njit(cache=True)
def _wide_character(text, at, end, classes):  # type: ignore[no-untyped-def]
    lead = np.int64(text[at])
    if lead < 0xC2 or lead > 0xF4:
        return 0
    length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if at + length > end:
        return 0
    value = lead & (0xFF >> (length + 1))
    for place in range(1, length):
        byte = np.int64(text[at + place])
        if byte & 0xC0 != 0x80:
            return 0
        value = value << 6 | byte & 0x3F
    # overlong, surrogate, beyond Unicode
    if (length == 3 and value < 0x800) or 0xD800 <= value < 0xE000 or (length == 4 and not 0x10000 <= value < 0x110000):
        return 0
    return np.int64(classes[value]) | length << 8
