"""The language of a file by its name: a suffix, or a whole name such as Makefile. The file isn't opened.

If languages share a suffix, the most common one has it (.h is C, .m Objective-C, .pl Perl). Data, logs and generated
formats (.csv, .svg, .lock) are left out on purpose, because these names also select the files of a folder that are
trained on. Names are compared in lower case.
"""

from functools import lru_cache

_TABLE = """
    ada            .adb .ads
    assembly       .s .asm
    awk            .awk
    batch          .bat .cmd
    c              .c .h
    c#             .cs
    c++            .cc .cpp .cxx .c++ .hh .hpp .hxx .h++ .inl
    clojure        .clj .cljs .cljc .edn
    cmake          .cmake CMakeLists.txt
    cobol          .cob .cbl
    crystal        .cr
    css            .css .scss .sass .less
    cuda           .cu .cuh
    cython         .pyx .pxd .pxi
    d              .d .di
    dart           .dart
    dockerfile     .dockerfile Dockerfile Containerfile
    elixir         .ex .exs
    elm            .elm
    erlang         .erl .hrl
    f#             .fs .fsi .fsx
    fortran        .f .for .f77 .f90 .f95 .f03 .f08
    glsl           .glsl .vert .frag .comp
    go             .go
    graphql        .graphql .gql
    groovy         .groovy .gradle Jenkinsfile
    haskell        .hs .lhs
    html           .html .htm .xhtml
    ini            .ini .cfg
    java           .java
    javascript     .js .mjs .cjs .jsx
    json           .json .json5
    julia          .jl
    kotlin         .kt .kts
    latex          .tex .sty .cls .bib
    lisp           .lisp .lsp .cl .el
    lua            .lua
    makefile       .mk .mak Makefile GNUmakefile makefile
    markdown       .md .markdown .mdx
    meson          meson.build
    nim            .nim .nims
    nix            .nix
    objective-c    .m .mm
    ocaml          .ml .mli
    org            .org
    pascal         .pas .pp .dpr
    perl           .pl .pm .pod
    php            .php .phtml
    powershell     .ps1 .psm1 .psd1
    prolog         .pro .prolog
    protobuf       .proto
    python         .py .pyi .pyw
    r              .r .rmd
    racket         .rkt
    rst            .rst
    ruby           .rb .rake .gemspec Gemfile Rakefile
    rust           .rs
    scala          .scala .sc .sbt
    scheme         .scm .ss .sld
    shell          .sh .bash .zsh .ksh .fish
    solidity       .sol
    sql            .sql
    starlark       .bzl .bazel BUILD WORKSPACE
    svelte         .svelte
    swift          .swift
    tcl            .tcl
    terraform      .tf .tfvars .hcl
    text           .txt
    thrift         .thrift
    toml           .toml
    typescript     .ts .tsx .mts .cts
    verilog        .v .vh .sv .svh
    vhdl           .vhd .vhdl
    vim            .vim
    visual basic   .vb .bas
    vue            .vue
    xml            .xml .xsd .xsl .xslt
    yaml           .yaml .yml
    zig            .zig
"""

_BY_NAME = {
    word: line[:15].strip() for line in map(str.strip, _TABLE.strip().splitlines()) for word in line[15:].split()
}

LANGUAGES = tuple(dict.fromkeys(_BY_NAME.values()))
"""The languages that there are names for, sorted."""


@lru_cache(1 << 14)  # a file is asked about when it is listed, and soon after when it is read
def language_of(path: str) -> str:
    """The language of a file by its name, in small letters, or "" where that isn't known.

    path: a name, or a path with slashes; in a suffix, large and small letters are the same.
    """
    name = path.rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    by_suffix = _BY_NAME.get(dot + suffix.lower(), "") if stem else ""
    return by_suffix if name.startswith(".") else _BY_NAME.get(name, by_suffix)
