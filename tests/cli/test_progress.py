import re
import time

from byteproxy.cli.progress import stage


def test_where_no_terminal_is_a_line_tells_amount_and_rate(capsys):
    with stage("count sheep", "B") as progress:
        progress(5_000_000, 10_000_000)
        time.sleep(0.1)
        progress(10_000_000, 10_000_000)
    with stage("count goats", "goats") as progress:
        time.sleep(0.1)
        progress(1500, 0)
    with stage("count none", "B"):
        pass
    bytes_, goats, none = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"count sheep: 0\.\d s, 10\.0 MB, \d\d?\.\d MB/s", bytes_)
    assert re.fullmatch(r"count goats: 0\.\d s, 1,500 goats, [\d,]+ goats/s", goats)
    assert none == "count none: 0.0 s"


def test_no_rate_is_made_up_from_no_time(capsys):
    with stage("count sheep", "B") as progress:
        progress(10, 10)
    assert capsys.readouterr().err == "count sheep: 0.0 s, 10 bytes\n"


def test_what_else_there_is_to_say_stands_at_the_end(capsys):
    with stage("count sheep", "B") as progress:
        progress(10, 20, "3 flocks")
        progress(20, 20, "7 flocks")
    assert capsys.readouterr().err == "count sheep: 0.0 s, 20 bytes, 7 flocks\n"
