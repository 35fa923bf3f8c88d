"""Which errors a user can cause and mend, and what to say of them: one line, what and where.

What a command knows best it refuses itself, with an InputError. Here is what can come from anywhere: the operating
system has something against a file, or memory is used up. Anything else is a bug.
"""

import errno
import os
import sys

from byteproxy.errors import InputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NAMES = {
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of it is a file, where a folder should be",
    errno.EISDIR: "it is a folder, where a file should be",
    errno.EEXIST: "it is there already",
    errno.ENOTEMPTY: "the folder is not empty",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.EILSEQ: "this file system takes no such name",
    errno.EINVAL: "this file system takes no such name or use",
    errno.ENXIO: "it is a pipe, a socket or a device that nobody serves",
    errno.ENODEV: "it is a device, and can't be used like a file",
    errno.EIO: "the disk failed",
    errno.ESTALE: "the network's file is gone",
    errno.ETXTBSY: "it is being run",
    errno.EBUSY: "it is in use",
    errno.EXDEV: "it lies on another file system",
    errno.EOPNOTSUPP: "its file system can't do that",
    errno.ENOLCK: "its file system has no locks to give",
    errno.ETIMEDOUT: "its file system didn't answer in time",
}
"""What a file's name stands for in the way of: only with a name are these a user's."""
_ANYWHERE = {
    errno.EMFILE: "too many files are open: raise the limit, such as with `ulimit -n 4096`",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOMEM: "memory is used up: give smaller numbers, or free some",
    errno.EAGAIN: "no further process or thread can be started: raise `ulimit -u`, or give fewer --workers",
}


def refusal_of(error: BaseException) -> str | None:
    """The message for an error that the user can mend, or None for a bug."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        return _of_file(error)
    of_names = {"utf8", sys.getfilesystemencoding().replace("-", "").lower()}
    if isinstance(error, UnicodeEncodeError) and error.encoding.replace("-", "").lower() in of_names:
        return (
            f"{error.object!r} can't be used as a name: it holds what {error.encoding} has no bytes for; choose "
            "another name, or set the locale to one of UTF-8, such as LC_ALL=C.UTF-8"
        )
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return "a name holds a byte of zero, which no file's name can: give another one"
    if isinstance(error, MemoryError) or _out_of_device(error):
        detail = str(error).splitlines()[0] if str(error) else ""
        return f"memory is used up{f' ({detail})' if detail else ''}: give smaller numbers, or free some"
    return None


def _of_file(error: OSError) -> str | None:
    if error.errno in _ANYWHERE:
        return _ANYWHERE[error.errno]
    name = error.filename2 if error.errno == errno.EEXIST and error.filename2 else error.filename
    shown = None if name is None or isinstance(name, int) else os.fsdecode(name)
    if shown is not None and error.errno and error.strerror not in (None, os.strerror(error.errno)):
        return f"cannot use {shown}: {error.strerror}"  # what we refuse ourselves, as devices and pipes
    if error.errno in _FULL:
        return f"cannot write {shown or 'a file'}: {error.strerror}; free space or give another folder"
    if error.errno in _FORBIDDEN:
        return _forbidden(shown, error)
    if shown is None or error.errno not in _NAMES:
        return None
    return f"cannot use {shown}: {_NAMES[error.errno]}"


def _forbidden(shown: str | None, error: OSError) -> str:
    """Whether reading or writing was forbidden is not in the error: what can be read was to be written."""
    if shown is not None and error.errno != errno.EROFS and os.path.exists(shown) and not os.access(shown, os.R_OK):
        return f"cannot read {shown}: {error.strerror}; ask its owner, or name another place"
    if shown is not None and error.errno != errno.EROFS and not _folder_can_be_entered(shown):
        return f"cannot use {shown}: {error.strerror}; its folder may not be entered: name another place"
    return f"cannot write {shown or 'a file'}: {error.strerror}; free space or give another folder"


def _folder_can_be_entered(name: str) -> bool:
    folder = os.path.dirname(os.path.abspath(name))
    while folder != os.path.dirname(folder) and not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return os.access(folder, os.X_OK)


def _out_of_device(error: BaseException) -> bool:
    """Whether torch found no memory, which it says with errors of its own."""
    if not isinstance(error, RuntimeError):
        return False
    return type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator: can't allocate memory" in str(error)
