"""`python -m rfspec` and the `rfspec` command."""

from .cli import main

if __name__ == "__main__":
    main()
