"""What a failed test leaves: one folder under build/test-logs/evidence, named in the failure's last line."""
import contextlib
import pathlib
import shutil

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "build" / "test-logs" / "evidence"


class Failed(AssertionError):
    pass


@contextlib.contextmanager
def collected(name, collect):
    """With a folder for what a test records: it is gone when the test passes. When it fails, `collect(folder)` adds to
    it."""
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    except Exception as reason:
        try:
            collect(folder)
        except Exception as error:  # the test's own reason is what matters
            (folder / "evidence-is-incomplete").write_text(f"{type(error).__name__}: {error}\n")
        raise Failed(f"{type(reason).__name__}: {reason}\nevidence: {folder}") from reason
    shutil.rmtree(folder)
