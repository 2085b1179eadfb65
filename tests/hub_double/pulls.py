"""Open pull requests, read their commits, and merge them."""

from .errors import HubError
from .store import MAIN, Commit, PullRequest, Repo, Tree


def open_pull(
    repo: Repo, base: Commit, *, title: str, description: str, author: str, status: str = "open"
) -> PullRequest:
    """
    Open an empty pull request.

    Args:
        repo (`Repo`):
            Repository.
        base (`Commit`):
            Commit at which it starts.
        title (`str`):
            Title.
        description (`str`):
            First comment in Markdown.
        author (`str`):
            Author.
        status (`str`, *optional*, defaults to `"open"`):
            `"open"`, or `"draft"` until the first commit.
    """
    pull = PullRequest(len(repo.pulls) + 1, title, description, author, status)
    repo.pulls.append(pull)
    repo.refs[pull.ref] = base.id
    return pull


def find_pull(repo: Repo, number: str) -> PullRequest:
    """
    Return the pull request with the number in a path.

    Raises:
        [`HubError`]: 404 if there is none with this number.
    """
    for pull in repo.pulls:
        if str(pull.number) == number:
            return pull
    raise HubError(404, f"Discussion {number} not found")


def pull_commits(repo: Repo, pull: PullRequest) -> list[Commit]:
    """Return the commits of a pull request that main does not have, oldest first."""
    return _beyond_main(repo, pull)[::-1]


def conflicts(repo: Repo, pull: PullRequest) -> list[str]:
    """Return the paths that the pull request and main changed differently."""
    base, theirs, ours = _three_trees(repo, pull)
    return [
        path for path in sorted(_changed(base, theirs) & _changed(base, ours)) if theirs.get(path) != ours.get(path)
    ]


def merge(repo: Repo, pull: PullRequest, *, author: str) -> Commit:
    """
    Merge a pull request into main as one commit.

    Raises:
        [`HubError`]: 409 if it is not open, or conflicts with main.
    """
    if pull.status != "open":
        raise HubError(409, f"Pull request {pull.number} is {pull.status}")
    if clashing := conflicts(repo, pull):
        raise HubError(409, f"Pull request {pull.number} conflicts with main in {', '.join(clashing)}")
    base, theirs, ours = _three_trees(repo, pull)
    tree = dict(ours)
    for path in _changed(base, theirs):
        tree.pop(path, None)
        if path in theirs:
            tree[path] = theirs[path]
    commit = repo.add_commit(MAIN, tree, author=author, title=f"{pull.title} (#{pull.number})")
    pull.status, pull.merge_commit = "merged", commit.id
    return commit


def _beyond_main(repo: Repo, pull: PullRequest) -> list[Commit]:
    """Return the commits of a pull request that main does not have, newest first."""
    on_main = {commit.id for commit in repo.history(repo.at(MAIN))}
    return [commit for commit in repo.history(repo.at(pull.ref)) if commit.id not in on_main]


def _three_trees(repo: Repo, pull: PullRequest) -> tuple[Tree, Tree, Tree]:
    """Return the trees of the common ancestor, of the pull request, and of main."""
    beyond, head = _beyond_main(repo, pull), repo.at(pull.ref)
    fork = beyond[-1].parent if beyond else head.id
    return (repo.commits[fork].tree if fork else {}), head.tree, repo.at(MAIN).tree


def _changed(before: Tree, after: Tree) -> set[str]:
    return {path for path in {*before, *after} if before.get(path) != after.get(path)}
