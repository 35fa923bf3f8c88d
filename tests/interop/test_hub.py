"""Models fetched from a Hub: a server on this machine that answers as the Hub does."""

import hashlib
import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import numpy as np
import pytest
from tests.waiting import GUARD_SECONDS

from byteproxy.errors import InputError
from byteproxy.gguf_file import GgufFile
from byteproxy.interop import hub

huggingface_hub = pytest.importorskip("huggingface_hub")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"weights",
    "README.md": b"---\nlicense: mit\n---\n",
    "modeling_evil.py": b"raise SystemExit",
    "pytorch_model.bin": b"pickle",
}


MEGABYTES = 12
GGUF = {"tiny-Q4_1.gguf": b"GGUF4", "small/tiny-Q8_0.gguf": b"GGUF8", "README.md": FILES["README.md"]}
REPOSITORIES = {
    "org/tiny": FILES,
    "org/several": GGUF,
    "org/one": {name: content for name, content in GGUF.items() if "small" not in name},
    "org/none": {"README.md": b"nothing"},
}


class Hub(BaseHTTPRequestHandler):
    """Answers about a few models."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = urlsplit(self.path).path
        self.server.asked.append(path)
        name = "/".join(path.removeprefix("/api/models").split("/")[1:3])
        files = REPOSITORIES.get(name, {})
        if files and path in (f"/api/models/{name}/revision/main", f"/api/models/{name}/revision/{COMMIT}"):
            siblings = [{"rfilename": file} for file in files]
            return self.say(json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode())
        if files and path == f"/api/models/{name}/tree/{COMMIT}":
            found = [
                {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for file, content in files.items()
            ]
            return self.say(json.dumps(found).encode())
        content = files.get(path.removeprefix(f"/{name}/resolve/{COMMIT}/"))
        if content is not None:
            headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if part and self.server.sends_parts:
                begin, end = int(part[1]), min(int(part[2]) + 1, len(content))
                headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(content)}"
                return self.say(content[begin:end], 206, **headers)
            return self.say(content, **headers)
        return self.say(b'{"error": "Repository not found"}', 404, **{"X-Error-Code": "RepoNotFound"})

    def say(self, content, status=200, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.server.sent += len(content)
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as found:
        found.asked, found.sent, found.sends_parts = [], 0, True
        Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def fetched(server, home, name, **options):
    """What a process of its own says of a fetch: folder and revision, or why there is none."""
    call = "look_at" if "into" in options else "fetch"
    code = (
        "import sys, json\nfrom pathlib import *\nfrom byteproxy.errors import InputError\n"
        "from byteproxy.interop import hub\n"
        f"try: folder, revision = hub.{call}({name!r}, **{options!r}); print(json.dumps([str(folder), revision]))\n"
        "except InputError as error: print(json.dumps(str(error)))\n"
    )
    address = "http://127.0.0.1:9" if server is None else f"http://127.0.0.1:{server.server_port}"
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=GUARD_SECONDS)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_a_model_is_fetched_once_and_nothing_that_could_run(server, tmp_path):
    folder, revision = fetched(server, tmp_path, "org/tiny")
    assert revision == COMMIT
    found = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    assert found == {name: FILES[name] for name in ("config.json", "tokenizer.json", "model.safetensors", "README.md")}
    assert fetched(None, tmp_path, "org/tiny", revision=COMMIT) == [folder, revision], "without a network"


def test_a_plan_needs_no_weights(server, tmp_path):
    folder, _ = fetched(server, tmp_path, "org/tiny@main", into=tmp_path)
    assert sorted(os.listdir(folder)) == ["README.md", "config.json", "tokenizer.json"]


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A GGUF file with a tensor of some megabytes, on the Hub."""
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "large.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list(["a", "b"])
    writer.add_tensor("token_embd.weight", np.ones((MEGABYTES << 18, 1), np.float32))
    writer.add_tensor("wanted", np.arange(1, 9, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    monkeypatch.setitem(REPOSITORIES, "org/large", {"more/large.gguf": path.read_bytes()})
    return GgufFile(path)


def test_a_plan_needs_the_beginning_of_a_gguf_file(server, large, tmp_path):
    path, revision = fetched(server, tmp_path / "home", "org/large@main", into=tmp_path / "home", tensors=["wanted"])
    assert (Path(path), revision) == (tmp_path / "home/large.gguf", COMMIT)
    assert server.sent < 5 << 20
    found = GgufFile(path)
    assert (found.shapes, found.get("tokenizer.ggml.tokens")) == (large.shapes, ["a", "b"])
    assert found.tensor("wanted").tolist() == large.tensor("wanted").tolist()
    said = fetched(server, tmp_path / "home", "org/large/other.gguf", into=tmp_path)
    assert said.startswith("hf:org/large holds no other.gguf: name one of its GGUF files (more/large.gguf)")


def test_a_plan_takes_what_the_cache_holds_or_all_of_what_comes_whole_only(server, large, tmp_path):
    server.sends_parts = False
    path, _ = fetched(server, tmp_path, "org/large/more/large.gguf", into=tmp_path)
    assert Path(path).parent.name == "more"
    assert Path(path).read_bytes() == large.path.read_bytes()
    assert fetched(None, tmp_path, f"org/large@{COMMIT}", into=tmp_path) == [path, COMMIT], "without a network"


def test_the_only_gguf_file_is_taken(server, tmp_path):
    path, revision = fetched(server, tmp_path, "org/one")
    assert (Path(path).name, Path(path).read_bytes(), revision) == ("tiny-Q4_1.gguf", b"GGUF4", COMMIT)
    assert fetched(None, tmp_path, "org/one", revision=COMMIT) == [path, revision], "without a network"


def test_of_several_gguf_files_one_is_named(server, tmp_path):
    said = fetched(server, tmp_path, "org/several")
    files = "small/tiny-Q8_0.gguf, tiny-Q4_1.gguf"
    way = f"name one of its GGUF files ({files}), such as hf:org/several/small/tiny-Q8_0.gguf"
    assert said == f"hf:org/several has no config.json: {way}"
    path, _ = fetched(server, tmp_path, "org/several/small/tiny-Q8_0.gguf@main")
    assert Path(path).read_bytes() == b"GGUF8"
    assert (Path(path).parents[1] / "README.md").is_file()
    assert not (Path(path).parents[1] / "tiny-Q4_1.gguf").exists()
    assert fetched(server, tmp_path, "org/several/other.gguf") == f"hf:org/several holds no other.gguf: {way}"
    assert "holds no GGUF file either" in fetched(server, tmp_path, "org/none")


@pytest.mark.parametrize("error", [TypeError("a fault of the client"), AssertionError()])
def test_what_no_user_can_mend_is_no_users_error(monkeypatch, error):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", raising(error))
    with pytest.raises(type(error)):
        hub.fetch("org/tiny")


def test_a_full_disk_is(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", raising(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match=r"cannot fetch hf:org/tiny \(.*No space left"):
        hub.fetch("org/tiny")


def raising(error):
    def raises(*_, **__):
        raise error

    return raises


def test_what_is_not_there_is_said_in_one_line(server, tmp_path):
    said = fetched(server, tmp_path, "org/other")
    assert said.startswith("cannot fetch hf:org/other (")
    assert "\n" not in said
    assert fetched(None, tmp_path / "empty", "org/tiny").startswith("cannot fetch hf:org/tiny (")
    for name in ("tiny", "org/tiny/model.safetensors", "org/tiny@", "a/b/../../c", ""):
        with pytest.raises(InputError, match="names no model on the Hub"):
            hub.fetch(name)


def test_without_the_client_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"pip install 'byteproxy\[hub\]'"):
        hub.fetch("org/tiny")
