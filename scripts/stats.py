"""Counts that say how a package reads: sizes of files and functions, docstrings, comments, `Any`,
width.

python scripts/stats.py [FOLDER ...]        # rfspec by default
"""

import ast
import io
import sys
import tokenize
from pathlib import Path
from statistics import median, quantiles

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
LONG_FILE, LONG_LINE, MANY_ARGUMENTS = 350, 100, 7


def docstring(node):
    """The statement that is the docstring of a module, class or function."""
    first = node.body[0] if node.body else None
    return (
        first
        if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)
        else None
    )


def span(node):
    return node.end_lineno - node.lineno + 1


def comments(source):
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0] for token in tokens if token.type == tokenize.COMMENT}


def code_lines(node, lines, commented):
    """Lines of a function that are neither blank, comment nor docstring."""
    doc = docstring(node)
    hidden = set(range(doc.lineno, doc.end_lineno + 1)) if doc else set()
    own = (i for i in range(node.lineno, node.end_lineno + 1) if i not in hidden)
    texts = ((i in commented, lines[i - 1].strip()) for i in own)
    return sum(bool(text) and not (comment and text.startswith("#")) for comment, text in texts)


def is_any(annotation):
    return isinstance(annotation, ast.Name) and annotation.id == "Any"


def share(some, all_):
    return f"{100 * some / all_:.0f} %" if all_ else "-"


def count(folder):
    files = {path: path.read_text() for path in sorted(Path(folder).rglob("*.py"))}
    trees = {path: ast.parse(source) for path, source in files.items()}
    sizes = [source.count("\n") for source in files.values()]
    total = sum(sizes)
    commented = {path: comments(source) for path, source in files.items()}
    nodes = [(path, node) for path, tree in trees.items() for node in ast.walk(tree)]
    functions = [(path, node) for path, node in nodes if isinstance(node, FUNCTION)]
    private = [
        node
        for _, node in functions
        if node.name.startswith("_") and not node.name.startswith("__")
    ]
    arguments = [
        a for _, f in functions for a in (*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs)
    ]
    annotated = [a.annotation for a in arguments if a.annotation]
    returns = [f.returns for _, f in functions if f.returns]
    classes = [node for _, node in nodes if isinstance(node, ast.ClassDef)]
    fields = [n.annotation for c in classes for n in c.body if isinstance(n, ast.AnnAssign)]
    code = sorted(
        code_lines(node, files[path].split("\n"), commented[path]) for path, node in functions
    )
    most = quantiles(code, n=10)[-1]
    documented = [
        n for _, n in nodes if isinstance(n, ast.Module | ast.ClassDef | FUNCTION) and docstring(n)
    ]
    wide = [
        line for source in files.values() for line in source.split("\n") if len(line) > LONG_LINE
    ]
    lambdas = [n for _, n in nodes if isinstance(n, ast.Assign) and isinstance(n.value, ast.Lambda)]
    many = [
        f
        for _, f in functions
        if len((*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs)) > MANY_ARGUMENTS
    ]
    return {
        "files": len(files),
        "lines": total,
        "median / longest file": f"{median(sizes):.0f} / {max(sizes)}",
        f"files of more than {LONG_FILE} lines": sum(size > LONG_FILE for size in sizes),
        "lines of docstrings": share(sum(span(docstring(node)) for node in documented), total),
        "lines with comments": share(sum(map(len, commented.values())), total),
        "private functions with a docstring": share(
            sum(docstring(f) is not None for f in private), len(private)
        ),
        "code lines of a function: median / 9 of 10 / most": (
            f"{median(code):.0f} / {most:.0f} / {code[-1]}"
        ),
        f"functions of more than {MANY_ARGUMENTS} arguments": len(many),
        "arguments that are Any": share(sum(map(is_any, annotated)), len(annotated)),
        "returns that are Any": share(sum(map(is_any, returns)), len(returns)),
        "fields that are Any": share(sum(map(is_any, fields)), len(fields)),
        f"lines of more than {LONG_LINE} characters": share(len(wide), total),
        "named lambdas": len(lambdas),
    }


def main():
    folders = sys.argv[1:] or ["rfspec"]
    columns = [count(folder) for folder in folders]
    for name in columns[0]:
        print(f"{name:<55}" + "".join(f"{column[name]!s:>16}" for column in columns))


if __name__ == "__main__":
    main()
