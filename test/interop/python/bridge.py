"""A bridge on mautrix-python, the framework under the older mautrix bridges. Its remote side is the file journal.jsonl.

    python bridge.py config.json    {"homeserver", "domain", "owner", "registration": {...}}

Each line of the journal is {"txn", "events"}: a transaction as it came, {"event"}: an event taken for the first time, or
{"ephemeral"}. What people say is answered by the ghost `echo`.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from aiohttp import web
from yarl import URL

from mautrix.appservice import DOUBLE_PUPPET_SOURCE_KEY, AppService
from mautrix.errors import MatrixError
from mautrix.types import BatchSendEvent, EventType


class Bridge(AppService):
    def __init__(self, homeserver: str, domain: str, owner: str, registration: dict) -> None:
        self.owner = owner
        self.prefix = f"@{registration['id']}_"
        names = {"as_token": "as_token", "hs_token": "hs_token", "bot_localpart": "sender_localpart", "id": "id", "bridge_name": "id"}
        given = {name: registration[key] for name, key in names.items()}
        # As the framework's own bridges: slow requests are repeated, and bodies are at most 1 MiB.
        super().__init__(homeserver, domain, **given, ephemeral_events=True, default_http_retry_count=4)
        # A transaction is answered when its events were taken, and one that comes again meanwhile waits.
        self.synchronous_handlers = True
        self.turn = asyncio.Lock()
        self.matrix_event_handler(self.take)
        self.app.router.add_post("/control/{call}", self.control)
        self.journal = open("journal.jsonl", "a+")
        self.journal.seek(0)
        lines = [json.loads(line) for line in self.journal if line.endswith("\n")]
        self.seen = {line["event"]["event_id"] for line in lines if "event" in line}

    def note(self, **line) -> None:
        self.journal.write(json.dumps(line, default=lambda value: value.serialize()) + "\n")
        self.journal.flush()

    async def handle_transaction(self, txn_id, *, events, **parts):
        async with self.turn:
            self.note(txn=txn_id, events=[event["event_id"] for event in events])
            return await super().handle_transaction(txn_id, events=events, **parts)

    async def take(self, event) -> None:
        line = event.serialize()
        if event.type.is_ephemeral:
            return self.note(ephemeral=line)
        if event.event_id in self.seen:
            return
        content = line["content"]
        own = event.sender == self.bot_mxid or event.sender.startswith(self.prefix) or DOUBLE_PUPPET_SOURCE_KEY in content
        if event.type == EventType.ROOM_MESSAGE and "m.relates_to" not in content and not own:
            answer = {"msgtype": "m.text", "body": f"echo of {content.get('body')}"[:1000]}
            # The event's id makes the request the same when a bridge that was killed makes it again.
            await self.user("echo").send_message_event(event.room_id, event.type, answer, txn_id=f"echo {event.event_id}")
        self.note(event=line)
        self.seen.add(event.event_id)

    def user(self, name: str):
        """The bot, the owner as a double puppet, or the ghost of this name."""
        if name == "owner":
            return self.intent.user(self.owner, token=self.as_token, as_token=True)
        return self.intent if name == "bot" else self.intent.user(f"{self.prefix}{name}:{self.domain}")

    async def control(self, request: web.Request) -> web.Response:
        """POST /control/{method of the library's intent}?as={name}, its arguments as JSON."""
        args = await request.json()
        if "events" in args:
            args["events"] = [BatchSendEvent.deserialize(event) for event in args["events"]]
        try:
            result = await getattr(self.user(request.query["as"]), request.match_info["call"])(**args)
        except MatrixError as error:
            return web.json_response({"error": repr(error)}, status=400)
        return web.json_response(result.serialize() if hasattr(result, "serialize") else result)


async def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    bridge = Bridge(**config)
    await bridge.start("127.0.0.1", URL(config["registration"]["url"]).port)
    # In the order of the framework's bridges.
    await bridge.intent.versions()
    await bridge.intent.whoami()
    await bridge.ping_self("hello")
    await bridge.state_store.registered(bridge.owner)
    bridge.ready = True
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await bridge.stop()


asyncio.run(main())
