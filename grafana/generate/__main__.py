"""Write the dashboards."""

import sys

from grafana.generate.dashboards import FOLDER, rendered


def main() -> int:
    """Write every dashboard that has changed, and name it; exit code 0."""
    for name, text in rendered().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
