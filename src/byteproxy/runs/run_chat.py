"""The chat format of a run that started from a model which is talked to: `chat.json`.

It is written once, with a checksum, before the run is one, so that an export needs nothing but the run. The run's
configuration has the fingerprint of what it was made from.
"""

from dataclasses import asdict
from pathlib import Path

from byteproxy.checksummed import read_checksummed, write_checksummed
from byteproxy.errors import InputError
from byteproxy.interop.chat import Chat
from byteproxy.interop.published import published
from byteproxy.train.train_config import TrainConfig

CHAT = "chat.json"


def remember_chat(folder: Path, config: TrainConfig) -> None:
    """Write the chat format of a run's start into its folder, if it has one and it isn't there.

    Raises InputError where that is lost, and its start is not there any more or is another now.
    """
    if not config.start.chat or (folder / CHAT).exists():
        return
    source = published(Path(config.start.path)).source_chat()
    if source is None or source.fingerprint != config.start.chat:
        raise InputError(
            f"{folder / CHAT} is missing, and {config.start.path} has another chat template now than the run began "
            "with: copy the file, or bring back the model"
        )
    chat = source.chat(1 + len(config.views))
    write_checksummed(folder / CHAT, {"start": config.start.chat, **asdict(chat)})


def chat_of_run(folder: Path, config: TrainConfig) -> Chat | None:
    """The chat format of the run in a folder; None: it started from no model that has one.

    Raises InputError where its file is missing, damaged, or another run's.
    """
    if not config.start.chat:
        return None
    said = read_checksummed(folder / CHAT)
    if said is None or said.pop("start") != config.start.chat:
        raise InputError(f"{folder / CHAT}, the chat format of its start, is missing or another run's: copy it again")
    return Chat(said["templates"], said["sentinels"], tuple(said["ends"]), said["eos"])
