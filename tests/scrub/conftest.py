from tests.tracking.conftest import project_folder

__all__ = ["project_folder"]
