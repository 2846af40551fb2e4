"""Speaks Jupyter's protocol for evcxr. It passes messages on, and corrects what evcxr does differently:

- A cell that fails with `?` or panics ends with the status `error`, and the cells that wait after it are
  aborted. evcxr answers `ok`, and runs them.
- The reply of a failed cell has `ename`, `evalue` and `traceback`. nbconvert and papermill print them.
- If the process of the cells has ended, the error says what that means.
- A kernel that cannot start says why in the first cell.

A cell tells this program what has happened with lines that the notebook does not show. They start with
U+0001 and a random text, so that no tweet can contain such a line. U+0002 stands for a line end. The library
(src/task/panics.rs) and kernel/cargo (patches.rs) print them.

evcxr gets a connection file of its own with the same key, so most messages are passed on as they are.
The protocol is described at https://jupyter-client.readthedocs.io/en/stable/messaging.html.
"""

import json
import time
from collections import deque
from contextlib import suppress

import zmq
from jupyter_client.session import DELIM, Session

# The first cell after the process of the cells was replaced. evcxr does not run its prelude again.
PRELUDE = "live_sentiment::interrupt::handle_interrupts();"
ENDED = "Subprocess terminated with status: "
CONSEQUENCE = (
    "All variables are lost, and with them the streams, the listeners, the figure and a broker that was "
    "started here. Run the cells again from the first one."
)
# The pause between two questions whether evcxr is ready, in seconds.
POLL = 0.05
# How long a cell waits for the rest of its output after its end, in seconds. evcxr may send the last line after
# the cell's reply.
LAST_OUTPUT = 5
# How long the lines of a cell are collected, in seconds. Without it, a message for each of 100,000 lines would
# take 8 s.
LINGER = 0.02
MAX_TEXT = 1 << 20


def parse(frames):
    """Returns the identities of a message, its header, its parent's header and its content."""
    at = frames.index(DELIM)
    header, parent, _, content = (json.loads(frame) for frame in frames[at + 2 : at + 6])
    return frames[:at], header, parent, content


class Cell:
    """A message of the shell channel. Most of them are cells to be executed."""

    def __init__(self, frames):
        self.identities, self.header, _, self.content = parse(frames)
        self.id = self.header["msg_id"]
        self.is_execution = self.header["msg_type"] == "execute_request"
        self.stops = self.is_execution and self.content.get("stop_on_error", True)
        self.reply = None
        self.idle = None
        # The content of the first error, and the messages of all that were shown.
        self.error = None
        self.shown = set()
        self.panic = None
        # Whether the cell has begun, the streams that have ended, and until when to wait for the others.
        self.has_begun, self.ended, self.limit = False, set(), None

    def has_all_output(self):
        if not self.has_begun or self.reply["status"] != "ok" or self.ended == {"stdout", "stderr"}:
            return True
        self.limit = self.limit or time.monotonic() + LAST_OUTPUT
        return time.monotonic() > self.limit


class Text:
    """Lines of one stream that are collected to be passed on as one message."""

    def __init__(self, name, parent):
        self.name, self.parent, self.parts, self.length, self.since = name, parent, [], 0, time.monotonic()


class Front:
    def __init__(self, connection, source, mark):
        """`source` is the file with the text of the compiled cell. `mark` is the random text at the start of the
        lines for this program."""
        self.source, self.mark = source, f"\x01{mark}:"
        self.session = Session(key=connection["key"].encode(), signature_scheme=connection["signature_scheme"])
        self.context, self.poller, self.handlers = zmq.Context(), zmq.Poller(), {}
        # evcxr is ready when this program has received what it publishes. `why` is the reason why evcxr cannot
        # start.
        self.is_ready, self.why, self.is_over = False, None, False
        self.waiting, self.cell = deque(), None
        # The collected text: its stream, its parent, its parts, its length, and the time of the first part.
        self.text = None

        def bind(kind, name):
            socket = self.context.socket(kind)
            socket.linger = 1_000
            separator = "-" if connection["transport"] == "ipc" else ":"
            socket.bind(f"{connection['transport']}://{connection['ip']}{separator}{connection[f'{name}_port']}")
            return socket

        self.shell, self.control, self.stdin = (bind(zmq.ROUTER, name) for name in ("shell", "control", "stdin"))
        self.iopub, heartbeat = bind(zmq.PUB, "iopub"), bind(zmq.ROUTER, "hb")
        self.handle(heartbeat, heartbeat.send_multipart)
        self.handle(self.shell, self.on_request)

    def handle(self, socket, handler):
        self.handlers[socket] = handler
        self.poller.register(socket, zmq.POLLIN)

    def connect(self, inner):
        """Connects to evcxr, whose connection is `inner`."""

        def connect(kind, name):
            socket = self.context.socket(kind)
            socket.linger = 0
            # evcxr sends a request for input to the identity of the shell's socket.
            socket.setsockopt(zmq.IDENTITY, b"front")
            socket.reconnect_ivl = 10
            socket.rcvhwm = 0
            # evcxr puts a colon before the number of a Unix socket too.
            socket.connect(f"{inner['transport']}://{inner['ip']}:{inner[f'{name}_port']}")
            return socket

        self.to_shell, to_control, to_stdin = (connect(zmq.DEALER, name) for name in ("shell", "control", "stdin"))
        output = connect(zmq.SUB, "iopub")
        output.setsockopt(zmq.SUBSCRIBE, b"")
        self.handle(self.to_shell, self.on_reply)
        self.handle(output, self.on_output)
        self.handle(self.control, to_control.send_multipart)
        self.handle(to_control, self.control.send_multipart)
        self.handle(self.stdin, to_stdin.send_multipart)
        self.handle(to_stdin, self.stdin.send_multipart)

    def fail(self, why):
        """From now on, each cell is answered with the reason why evcxr cannot start."""
        self.why, self.is_ready = why, True
        self.handle(self.control, self.on_control_without_evcxr)
        self.next()

    def run(self, is_alive):
        """Passes messages on while evcxr is alive, or until a shutdown if it cannot start. Returns whether it
        has started."""
        while not self.is_over and (self.why or is_alive()):
            if not self.is_ready:
                self.ask("kernel_info_request", {})
            pause = LINGER if self.text else 1 if self.is_ready else POLL
            for socket, _ in self.poller.poll(pause * 1_000):
                # Many messages at once, but not so many that a fast cell delays the other sockets.
                for _ in range(200):
                    try:
                        self.handlers[socket](socket.recv_multipart(zmq.NOBLOCK))
                    except zmq.Again:
                        break
            if self.text and time.monotonic() > self.text.since + LINGER:
                self.flush()
            if self.cell and self.cell.limit:
                self.finish()
        self.flush()
        return self.is_ready

    def close(self):
        self.context.destroy()

    def ask(self, kind, content):
        """Sends evcxr a message of this program. Its answers are not passed on."""
        message = self.session.msg(kind, content)
        self.to_shell.send_multipart(self.session.serialize(message, b"front"))
        return message["header"]["msg_id"]

    def publish(self, kind, content, cell):
        self.session.send(self.iopub, kind, content, parent=cell.header)

    def on_request(self, frames):
        self.queue(frames)
        self.next()

    def queue(self, frames):
        # What is not a message of the protocol is dropped.
        with suppress(ValueError, KeyError, TypeError):
            self.waiting.append((Cell(frames), frames))

    def next(self):
        """Passes the next message to evcxr, which processes one after the other."""
        while self.is_ready and self.cell is None and self.waiting:
            cell, frames = self.waiting.popleft()
            if self.why:
                self.answer_without_evcxr(cell)
                continue
            self.cell = cell
            self.to_shell.send_multipart(frames)

    def on_reply(self, frames):
        cell = self.cell
        _, header, parent, content = parse(frames)
        if parent.get("session") == self.session.session:
            return
        if cell is not None and cell.is_execution and parent.get("msg_id") == cell.id:
            cell.reply = content
            self.finish()
        else:
            self.shell.send_multipart(frames)

    def on_output(self, frames):
        if not self.is_ready:
            # evcxr runs, and this program receives what it publishes.
            self.is_ready = True
            self.next()
            return
        _, header, parent, content = parse(frames)
        cell, kind = self.cell, header["msg_type"]
        if parent.get("session") == self.session.session:
            return
        if kind == "stream":
            self.on_text(content, parent)
            return
        self.flush()
        if cell is not None and parent.get("msg_id") == cell.id:
            if kind == "status" and content["execution_state"] == "idle":
                if cell.is_execution:
                    self.finish(frames)
                    return
                self.cell = None
                self.iopub.send_multipart(frames)
                self.next()
                return
            if kind == "error":
                self.on_error(cell, content)
                return
        self.iopub.send_multipart(frames)

    def on_text(self, content, parent):
        name, text = content["name"], content["text"]
        text, mark, line = text.partition(self.mark)
        if text:
            self.collect(name, parent, text)
        if mark:
            self.on_mark(name, line.rstrip("\n").replace("\x02", "\n"))

    def collect(self, name, parent, text):
        if self.text and (self.text.name, self.text.parent) != (name, parent):
            self.flush()
        if not self.text:
            self.text = Text(name, parent)
        self.text.parts.append(text)
        self.text.length += len(text)
        if self.text.length > MAX_TEXT:
            self.flush()

    def flush(self):
        """Passes the collected text on, as one message."""
        if self.text:
            text, self.text = self.text, None
            self.session.send(self.iopub, "stream", {"name": text.name, "text": "".join(text.parts)}, parent=text.parent)

    def on_mark(self, stream, line):
        cell = self.cell
        kind, _, rest = line.partition(":")
        if cell is None:
            return
        if kind == "begin":
            cell.has_begun = True
        elif kind == "end":
            cell.ended.add(stream)
            self.finish()
        elif kind == "error":
            self.show(cell, "Error", rest, [])
        elif kind == "panicked":
            file, line, message = rest.split(":", 2)
            cell.panic = (message, self.place(cell, file, int(line)))
        elif kind == "failed":
            message, place = cell.panic or ("a panic; its message is above", [])
            self.show(cell, "Panic", message, place)

    def place(self, cell, file, line):
        """Returns where a panic was: the line of the cell, or the line of another file."""
        if file != "src/lib.rs":
            return [f"in {file}, line {line}"]
        try:
            text = self.source.read_text().splitlines()[line - 1].strip()
        except (OSError, IndexError):
            return []
        lines = [other.strip() for other in cell.content["code"].splitlines()]
        return [f"line {lines.index(text) + 1}: {text}"] if text in lines else []

    def on_error(self, cell, content):
        if content["evalue"] in cell.shown:
            return
        text = content["evalue"]
        if ENDED in text:
            before, _, status = text.rpartition(ENDED)
            reason = f"The process of the cells has ended ({status})."
            if "SIGSEGV" in status or "SIGABRT" in status:
                reason = f"The process of the cells has ended: a stack overflow (endless recursion?), or a fault in unsafe code ({status})."
            message = f"{reason} {CONSEQUENCE}"
            self.show(cell, "ProcessEnded", message, [before.rstrip()] if before.strip() else [])
            self.ask("execute_request", {"code": PRELUDE, "silent": True, "store_history": False, "allow_stdin": False})
            return
        cell.shown.add(text)
        cell.error = cell.error or content
        self.publish("error", content, cell)

    def show(self, cell, name, message, more):
        """Shows an error below the cell."""
        traceback = [f"\x1b[31m{name}:\x1b[0m {message}", *more]
        content = {"ename": name, "evalue": message, "traceback": "\n".join(traceback).splitlines()}
        cell.error = cell.error or content
        self.flush()
        self.publish("error", content, cell)

    def finish(self, idle=None):
        """Ends the cell when its reply, its idle status and its output are here."""
        cell = self.cell
        cell.idle = idle or cell.idle
        if cell.reply is None or cell.idle is None or not cell.has_all_output():
            return
        content = cell.reply
        if content["status"] == "error" or cell.error:
            content = {**content, "status": "error", **(cell.error or {"ename": "Error", "evalue": "", "traceback": []})}
        self.flush()
        aborts = content["status"] == "error" and cell.stops
        # A cell that is sent after the reply is not aborted.
        sent_before = self.take_waiting() if aborts else []
        self.session.send(self.shell, "execute_reply", content, parent=cell.header, ident=cell.identities)
        self.iopub.send_multipart(cell.idle)
        self.cell = None
        self.abort(sent_before)
        self.next()

    def take_waiting(self):
        """Takes all messages that have arrived by now from the queue."""
        while self.shell.poll(0):
            self.queue(self.shell.recv_multipart())
        waiting, self.waiting = self.waiting, deque()
        return waiting

    def abort(self, waiting):
        """Answers the cells among the messages that waited during a failed cell. Other messages keep waiting."""
        for cell, frames in waiting:
            if not cell.is_execution:
                self.waiting.append((cell, frames))
                continue
            self.publish("status", {"execution_state": "busy"}, cell)
            self.session.send(self.shell, "execute_reply", {"status": "aborted"}, parent=cell.header, ident=cell.identities)
            self.publish("status", {"execution_state": "idle"}, cell)

    def answer_without_evcxr(self, cell):
        kind = cell.header["msg_type"]
        self.publish("status", {"execution_state": "busy"}, cell)
        content = {"status": "ok"}
        if kind == "kernel_info_request":
            content |= {
                "protocol_version": "5.3", "implementation": "evcxr", "implementation_version": "", "banner": "",
                "language_info": {"name": "rust", "version": "", "mimetype": "text/rust", "file_extension": ".rs"},
            }  # fmt: skip
        elif cell.is_execution:
            self.show(cell, "NotStarted", self.why, [])
            content = {**cell.error, "status": "error", "execution_count": 0}
        self.session.send(self.shell, kind.replace("_request", "_reply"), content, parent=cell.header, ident=cell.identities)
        self.publish("status", {"execution_state": "idle"}, cell)

    def on_control_without_evcxr(self, frames):
        cell = Cell(frames)
        kind = cell.header["msg_type"]
        content = {"status": "ok"} | {name: cell.content[name] for name in ("restart",) if name in cell.content}
        self.session.send(self.control, kind.replace("_request", "_reply"), content, parent=cell.header, ident=cell.identities)
        if kind == "shutdown_request":
            self.is_over = True

