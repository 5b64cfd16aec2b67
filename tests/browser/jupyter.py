"""A real JupyterLab and a real browser: what a person sees is opened, run and looked at here."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Locator, Page, Route
    from playwright.sync_api import Request as BrowserRequest

HOME = "127.0.0.1"
SCREENSHOTS = Path(__file__).parent / "screenshots"
CHROMIUMS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The news popup would cover the page; cells out of sight would not be drawn; a save in the
# middle of a test would raise dialogues.
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "checkForUpdates": False,
        "doNotDisturbMode": True,
        "fetchNews": "false",
    },
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
WIDTH, HEIGHT, TALLEST = 1280, 1000, 12_000
PANEL = "window.jupyterapp?.shell?.currentWidget?.context"


def screenshot_path(label: str) -> Path:
    """Return where to keep a picture."""
    SCREENSHOTS.mkdir(exist_ok=True)
    return SCREENSHOTS / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', label)[:80]}.png"


def find_chromium() -> str | None:
    """Return the path of a Chromium on this machine, if it has one."""
    return next(filter(None, map(shutil.which, CHROMIUMS)), None)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running JupyterLab; `root` is the folder it shows."""

    url: str
    token: str
    root: Path

    def call(self, path: str, *, method: str = "GET") -> Any:
        """Call Jupyter's REST interface and return what it answers."""
        headers = {"Authorization": f"token {self.token}"}
        with urlopen(
            Request(self.url + path, method=method, headers=headers), timeout=10
        ) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def shut_sessions_down(self) -> None:
        """End every kernel, so that the next notebook starts with a fresh one."""
        for session in self.call("/api/sessions"):
            self.call(f"/api/sessions/{session['id']}", method="DELETE")


@contextmanager
def jupyterlab(folder: Path) -> Iterator[Server]:
    """Run JupyterLab as a private child process; nothing of the person's own set-up is used.

    Args:
        folder: an empty folder for everything it reads and writes.
    """
    root = folder / "root"
    private = {
        name: folder / name.lower()
        for name in (
            "HOME",
            "IPYTHONDIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
        )
    }
    for path in (root, *private.values()):
        path.mkdir(parents=True)
    overrides = private["JUPYTER_CONFIG_DIR"] / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir()
    overrides.write_text(json.dumps(SETTINGS), encoding="utf-8")
    token = secrets.token_hex(16)
    environment = {name: str(path) for name, path in private.items()}
    environment |= {"ESLAB_RENDER": "widget", "JUPYTER_TOKEN": token, "TZ": "UTC"}
    with socket.socket() as probe:
        probe.bind((HOME, 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser"),
        *(f"--ServerApp.ip={HOME}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.root_dir={root}", "--ServerApp.allow_root=True"),
        *("--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None"),
        "--LabApp.extension_manager=readonly",
        # As `make lab` does.
        "--ContentsManager.pre_save_hook=eslab.testing.notebooks.forget_drawings",
        "--ServerApp.kernel_websocket_connection_class=eslab.widgets.server.PromptConnection",
    ]
    log = folder / "jupyterlab.log"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Server(url=f"http://{HOME}:{port}", token=token, root=root)
    try:
        _wait_until_ready(server, process, log)
        yield server
        server.shut_sessions_down()
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            server.call("/api/status")
        except (URLError, OSError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(encoding="utf-8")[-2000:]
                raise RuntimeError(
                    f"JupyterLab does not start ({error}); it says:\n{said}"
                ) from None
            time.sleep(0.1)
        else:
            return


@dataclass
class Watch:
    """What must not happen while a page is open; each is a line in `faults`.

    Requests to other hosts are refused as well as noted, so that no test depends on the network.
    """

    faults: list[str] = field(default_factory=list)

    def over(self, page: Page) -> None:
        """Watch a page from now on."""
        page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        page.on("console", self._console)
        page.on("request", self._request)
        page.on("websocket", lambda socket: self._address(socket.url))
        page.route(lambda url: not self._is_home(url), self._refuse)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console error: {message.text} ({message.location['url']})")

    def _request(self, request: BrowserRequest) -> None:
        self._address(request.url)

    def _address(self, url: str) -> None:
        if not self._is_home(url):
            self.faults.append(f"a request leaves {HOME}: {url[:200]}")

    @staticmethod
    def _is_home(url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme in ("data", "blob", "about") or parts.hostname == HOME

    @staticmethod
    def _refuse(route: Route) -> None:
        route.abort()


@dataclass(frozen=True, kw_only=True)
class OpenNotebook:
    """A notebook in JupyterLab, with a kernel that is connected and idle."""

    page: Page
    name: str

    def run_all(self) -> list[dict[str, Any]]:
        """Run every cell as a person does, and return the cells with their outputs."""
        self.command("notebook:run-all-cells")
        return self.cells()

    def command(self, name: str, **arguments: object) -> None:
        """Run a command of JupyterLab; returns when it is done."""
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args).then(() => null)",
            [name, arguments],
        )

    def cells(self) -> list[dict[str, Any]]:
        """Return the notebook's cells as they are now."""
        script = "() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON()"
        cells: list[dict[str, Any]] = self.page.evaluate(script)["cells"]
        return cells

    def errors(self) -> list[str]:
        """Return the errors in the outputs, each with the cell that it stands below."""
        return [
            f"cell {number}: {output['ename']}: {output['evalue']}"
            for number, cell in enumerate(self.cells(), 1)
            for output in cell.get("outputs", [])
            if output["output_type"] == "error"
        ]

    def output_around(self, inner: Locator) -> Locator:
        """Return the output area of the cell in which something stands."""
        return self.page.locator(".jp-Cell-outputArea").filter(has=inner).first

    def shut_kernel_down(self) -> None:
        """End the kernel from within JupyterLab, as a person does, who then sees "No Kernel"."""
        self.page.evaluate(f"() => {PANEL}.sessionContext.shutdown().then(() => null)")

    def light(self) -> None:
        """Switch JupyterLab to its light theme; it remembers what a test before has chosen."""
        self._theme("JupyterLab Light", light="true")

    def dark(self) -> None:
        """Switch JupyterLab to its dark theme."""
        self._theme("JupyterLab Dark", light="false")

    def _theme(self, name: str, *, light: str) -> None:
        self.command("apputils:change-theme", theme=name)
        self.page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")

    def screenshot(self, label: str) -> Path:
        """Keep a picture of the whole notebook, at its full height."""
        height = self.page.evaluate(
            "() => document.querySelector('.jp-Notebook .jp-WindowedPanel-outer').scrollHeight"
        )
        self.page.set_viewport_size({"width": WIDTH, "height": min(height + 150, TALLEST)})
        self.page.evaluate(
            """() => {
                const frame = () => new Promise(requestAnimationFrame);
                document.querySelector('.jp-Notebook .jp-WindowedPanel-outer').scrollTop = 0;
                return frame().then(frame);
            }"""
        )
        path = screenshot_path(label)
        self.page.screenshot(path=path, animations="disabled")
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        return path


def open_notebook(page: Page, server: Server, notebook: Path) -> OpenNotebook:
    """Open a copy of a notebook and wait for its kernel; the original is never written."""
    shutil.copy(notebook, server.root / notebook.name)
    page.goto(f"{server.url}/lab/tree/{notebook.name}?reset&token={server.token}")
    page.wait_for_function(
        """name => {
            const app = window.jupyterapp;
            const panel = app && app.shell && app.shell.currentWidget;
            const context = panel && panel.context;
            const kernel = context && context.sessionContext.session?.kernel;
            return context?.path === name && context.isReady && kernel
                && kernel.connectionStatus === 'connected' && kernel.status === 'idle';
        }""",
        arg=notebook.name,
        timeout=60_000,
    )
    opened = OpenNotebook(page=page, name=notebook.stem)
    opened.light()
    return opened
