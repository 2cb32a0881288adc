import { describe, expect, test } from "bun:test";
import type { Engine } from "../../src/engine/engine.ts";
import { fileLimits, requestLimits, storeLimits } from "../../src/limits.ts";
import { makeFileWriter } from "../../src/store/agent-file.ts";
import { chainHash, encodeEvent, genesisHash } from "../../src/store/codec.ts";
import type { Event } from "../../src/agent/event.ts";
import { callAfter, born, paused, said, spoke } from "../support/events.ts";
import { aborted, makePlayedModel } from "../support/played-model.ts";
import { makeGate, openStage, type Stage } from "../support/stage.ts";

const codeIs = (code: string, message = ""): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(message) });

async function fileFrom(engine: Engine, agentId: string): Promise<Uint8Array> {
  return Buffer.concat(await Array.fromAsync(engine.exportAgent(agentId)));
}

/** The file in pieces of so many bytes. */
async function* inPieces(file: Uint8Array, bytes = 1_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < file.length; at += bytes) yield file.subarray(at, at + bytes);
}

const withoutTime = (file: Uint8Array): string =>
  Buffer.from(file)
    .toString()
    .replace(/"exportedAt":"[^"]*"/, "");

/** All that clients are shown of an agent, and all that is kept of it. */
async function lookAt({ store }: Stage, agentId: string): Promise<unknown> {
  const row = await store.row(agentId, store.nowMs());
  return JSON.stringify([
    row,
    await store.readStored(agentId, 0),
    await store.readDraft(agentId, 0),
    await store.aside(agentId),
    [...(await store.marks(agentId, ["message m1", "message m2"])).values()],
  ]);
}

/** A file with these events, all as it has to be but what they are. */
function fileOf(agentId: string, events: readonly Event[]): Uint8Array {
  const writer = makeFileWriter({ agentId, request: null, workedMs: 0 });
  const lines = [writer.head(0)];
  let hash = genesisHash(agentId);
  for (const [index, event] of events.entries()) {
    const place = { sequence: index + 1, atMs: 1_000, body: encodeEvent(event) };
    hash = chainHash(hash, place.sequence, place.atMs, place.body);
    lines.push(writer.event({ ...place, hash: hash.toHex() }));
  }
  return Buffer.from([...lines, writer.end()].join(""));
}

const unknownId = "01a20540-b5c3-701e-b768-b26a82f3caff";

describe("an exported agent", () => {
  test("is on the other side what it was, and exports to the same file", async () => {
    const [home, away] = [openStage(), openStage()];
    const [from, to] = [home.start(), away.start()];
    const agentId = await home.create(from, "goal", { waitForInput: true });
    await home.say(from, agentId, "hello");
    await home.untilSettled(agentId);
    const file = await fileFrom(from, agentId);
    for (const bytes of [1, 7, file.length]) {
      expect(await to.importAgent(inPieces(file, bytes))).toEqual({ agentId, sequence: 3 });
      expect(await lookAt(away, agentId)).toEqual(await lookAt(home, agentId));
      expect(withoutTime(await fileFrom(to, agentId))).toBe(withoutTime(file));
      await to.remove(agentId, false);
    }
    await Promise.all([from.drain(), to.drain()]);
  });

  test("paused in mid-answer goes on there at the same character", async () => {
    const [home, away] = [openStage(), openStage()];
    const from = home.start({
      model: makePlayedModel(() => ({
        text: ["one ", "two ", "three"],
        before: async (piece, signal) => (piece === 2 ? aborted(signal) : undefined),
      })),
    });
    const continued: string[] = [];
    const to = away.start({
      model: makePlayedModel((request) => {
        continued.push(request.messages.at(-1)?.content ?? "");
        return { text: ["one ", "two ", "three"] };
      }),
    });
    const agentId = await home.create(from, "count");
    await home.untilStatus(agentId, "waiting_for_step");
    const drafted = async (): Promise<number> =>
      (await home.store.readDraft(agentId, 0))?.pieces.map(({ content }) => content).join("")
        .length ?? 0;
    while ((await drafted()) < 8) await new Promise((done) => setImmediate(done));
    await from.command(agentId, { type: "Pause", reason: "", key: null });
    await home.untilSettled(agentId);
    const file = await fileFrom(from, agentId);
    expect(Buffer.from(file).toString()).toContain('{"piece":{"kind":"text","offset":0,');
    await to.importAgent(inPieces(file));
    expect(await lookAt(away, agentId)).toEqual(await lookAt(home, agentId));
    expect(await away.store.nextWakeMs()).toBeNull();
    await to.command(agentId, { type: "Resume", key: null });
    await away.untilSettled(agentId);
    expect(continued).toEqual(["one two"]);
    expect((await away.log(agentId)).at(-1)?.event).toMatchObject({ content: "one two three" });
    await Promise.all([from.drain(), to.drain()]);
  });

  test("while it works is refused", async () => {
    const stage = openStage();
    const hold = makeGate();
    const engine = stage.start({
      model: makePlayedModel(() => ({ text: ["x"], before: async () => hold.passed })),
    });
    const agentId = await stage.create(engine, "goal");
    await expect(fileFrom(engine, agentId)).rejects.toEqual(
      codeIs("failed_precondition", "pause it first"),
    );
    await expect(fileFrom(engine, "nobody")).rejects.toEqual(codeIs("not_found"));
    hold.open();
    await stage.untilSettled(agentId);
    expect(await fileFrom(engine, agentId)).not.toHaveLength(0);
    await engine.drain();
  });

  test("is of the moment at which it was asked for, whatever happens meanwhile", async () => {
    const stage = openStage();
    const engine = stage.start();
    const agentId = unknownId;
    const long = "x".repeat(2_000);
    const events = Array.from({ length: 1.5 * storeLimits.readEventsMax }, () => said(long));
    const replied = spoke("all read", events.length + 1);
    const file = fileOf(agentId, [born({ waitForInput: true }), ...events, replied]);
    await engine.importAgent(inPieces(file));
    const before = withoutTime(await fileFrom(engine, agentId));
    const pieces: Uint8Array[] = [];
    for await (const piece of engine.exportAgent(agentId)) {
      if (pieces.push(piece) !== 1) continue;
      await stage.say(engine, agentId, "meanwhile");
      await stage.untilSettled(agentId);
    }
    expect(pieces.length).toBeGreaterThan(2);
    expect(withoutTime(Buffer.concat(pieces))).toBe(before);
    await engine.drain();
  });

  test("that has grown long comes over whole", async () => {
    const [home, away] = [openStage(), openStage()];
    const [from, to] = [home.start(), away.start()];
    const events = Array.from({ length: 3 * storeLimits.readEventsMax }, (_, n) =>
      said(`${n}`, { messageId: `m${n}`, digest: "d" }),
    );
    const file = fileOf(unknownId, [born({ waitForInput: true }), ...events, paused()]);
    const sequence = events.length + 2;
    expect(await from.importAgent(inPieces(file))).toEqual({ agentId: unknownId, sequence });
    await to.importAgent(inPieces(await fileFrom(from, unknownId)));
    expect(await lookAt(away, unknownId)).toEqual(await lookAt(home, unknownId));
    const again = { type: "Say", content: "0", attachments: [] } as const;
    const key = { messageId: "m300", digest: "d" };
    expect(await to.command(unknownId, { ...again, key })).toMatchObject({ sequence: 302 });
    await Promise.all([from.drain(), to.drain()]);
  });
});

describe("an import", () => {
  const open = () => {
    const stage = openStage();
    return { stage, engine: stage.start() };
  };
  const importing = (engine: Engine, file: Uint8Array) => engine.importAgent(inPieces(file));
  const plain = [born({ waitForInput: true }), said("hi"), spoke("hello", 2)];

  test("leaves nothing of a file that is not whole, and takes it when it is", async () => {
    const { stage, engine } = open();
    const file = fileOf(unknownId, plain);
    for (const length of [0, 10, file.length / 2, file.length - 2])
      await expect(importing(engine, file.subarray(0, length))).rejects.toEqual(
        codeIs("invalid_argument", "file"),
      );
    expect(await stage.store.row(unknownId, 0)).toBeNull();
    expect(await engine.list({ status: null, limit: 9, beforeAgentId: null })).toEqual([]);
    expect(await importing(engine, file)).toEqual({ agentId: unknownId, sequence: 3 });
    await engine.drain();
  });
  test("leaves nothing aside of a long file that is wrong, nor stumbles over what another left", async () => {
    const { stage, engine } = open();
    const events = Array.from({ length: 2 * storeLimits.readEventsMax }, (_, n) => said(`${n}`));
    const file = fileOf(unknownId, [born({ waitForInput: true }), ...events, paused()]);
    await expect(importing(engine, file.subarray(0, -100))).rejects.toEqual(
      codeIs("invalid_argument"),
    );
    const dated = [...plain, ...plain].map((event) => ({ atMs: 1, event }));
    const { store } = stage;
    await expect(store.stage(unknownId, 6, dated, store.nowMs())).rejects.toEqual(
      codeIs("conflict", "0 events stand aside"),
    );
    await store.stage(unknownId, 0, dated, store.nowMs());
    expect(await importing(engine, file)).toMatchObject({ sequence: events.length + 2 });
    expect((await store.snapshot(unknownId))?.sequence).toBe(events.length + 2);
    await engine.drain();
  });
  test("of an agent that is there is refused before the rest is read", async () => {
    const { stage, engine } = open();
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    const file = await fileFrom(engine, agentId);
    let read = 0;
    async function* counted(): AsyncGenerator<Uint8Array> {
      for await (const piece of inPieces(file, 10)) {
        read += piece.length;
        yield piece;
      }
    }
    await expect(engine.importAgent(counted())).rejects.toEqual(
      codeIs("already_exists", `agent ${agentId} is here already, with 1 events`),
    );
    expect(read).toBeLessThan(file.length / 2);
    await engine.drain();
  });
  test("keeps the request id, unless it is another agent's there, which is named", async () => {
    const { stage, engine } = open();
    const request = { requestId: "r", digest: "d" };
    const { agentId } = await engine.create(
      (await stage.state(await stage.create(engine, "g", { waitForInput: true }))).spec,
      request,
    );
    const file = await fileFrom(engine, agentId);
    const away = open();
    await importing(away.engine, file);
    const { spec } = await away.stage.state(agentId);
    expect((await away.engine.create(spec, request)).agentId).toBe(agentId);
    const other = open();
    const taken = await other.engine.create(spec, request);
    await expect(importing(other.engine, file)).rejects.toEqual(
      codeIs("already_exists", taken.agentId),
    );
    for (const each of [engine, away.engine, other.engine]) await each.drain();
  });
  test("brings back what was deleted, also where the engine had known more of it", async () => {
    const { stage, engine } = open();
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    const file = await fileFrom(engine, agentId);
    await stage.say(engine, agentId, "hello");
    await stage.untilSettled(agentId);
    await engine.remove(agentId, false);
    await importing(engine, file);
    expect(await stage.events(agentId)).toEqual(["AgentCreated"]);
    await stage.say(engine, agentId, "again");
    await stage.untilSettled(agentId);
    expect((await stage.log(agentId)).at(-1)?.event).toMatchObject({ content: "you said: again" });
    await engine.drain();
  });

  test("brings back what another engine had known more of", async () => {
    const stage = openStage();
    const [one, other] = [stage.start({ name: "one" }), stage.start({ name: "other" })];
    const agentId = await stage.create(one, "goal", { waitForInput: true });
    const file = await fileFrom(one, agentId);
    for (const word of ["hello", "again"]) {
      await stage.say(one, agentId, word);
      await stage.untilSettled(agentId);
      await other.stateAt(agentId, 1);
    }
    await one.remove(agentId, false);
    await importing(one, file);
    for (const [engine, content] of [
      [other, "from the start"],
      [one, "and on"],
    ] as const) {
      stage.clock.advance(5);
      await stage.say(engine, agentId, content);
      await stage.untilSettled(agentId);
    }
    const state = await stage.state(agentId);
    expect(state.transcript.map((item) => item.content)).toEqual([
      "from the start",
      "you said: from the start",
      "and on",
      "you said: and on",
    ]);
    await Promise.all([one.drain(), other.drain()]);
  });

  const wrong: readonly (readonly [string, () => Uint8Array, string])[] = [
    [
      "ends while the agent works",
      () => fileOf(unknownId, [born(), said("hi")]),
      "line 3 of the file is wrong: the log ends while the agent is working",
    ],
    [
      "has an event that cannot stand there",
      () => fileOf(unknownId, [...plain, born(), said("hi")]),
      "line 5 of the file is wrong: AgentCreated stands at 4, not first",
    ],
    [
      "counts up to what no answer can carry",
      () => {
        const usage = { promptTokens: Number.MAX_SAFE_INTEGER, completionTokens: 0 };
        const more = [3, 4].map((after): Event => {
          const head = { call: callAfter(after), usage };
          return { type: "ModelSpoke", head, content: "x" };
        });
        return fileOf(unknownId, [...plain, ...more]);
      },
      "line 6 of the file is wrong: its events count up",
    ],
    [
      "is no text",
      () => Buffer.concat([fileOf(unknownId, plain).subarray(0, -2), Buffer.from([0xff, 0x0a])]),
      "line 5 of the file is wrong: it is no UTF-8 text",
    ],
  ];
  test.each(wrong)("of a file that %s is refused", async (_, file, fault) => {
    const { stage, engine } = open();
    await expect(importing(engine, file())).rejects.toEqual(codeIs("invalid_argument", fault));
    expect(await stage.store.row(unknownId, 0)).toBeNull();
    await engine.drain();
  });
  test("of a line that is too long is refused without keeping it", async () => {
    const { engine } = open();
    const piece = new Uint8Array(1024 * 1024).fill(0x20);
    let sent = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        sent += piece.length;
        yield piece;
      }
    }
    await expect(engine.importAgent(endless())).rejects.toEqual(
      codeIs("invalid_argument", "line 1 of the file is wrong: it is longer than"),
    );
    expect(sent).toBeLessThan(fileLimits.lineBytesMax + 2 * piece.length);
    await engine.drain();
  });
});

test("the longest reply fits a line in its longest form, beside the tools offered with it", () => {
  const worst = "\u0001".repeat(8 * 1024 * 1024);
  const body = encodeEvent(spoke(worst, 2));
  const stored = { sequence: 3, atMs: 1, body, hash: "" };
  const line = makeFileWriter({ agentId: unknownId, request: null, workedMs: 0 }).event(stored);
  expect(line.length + 2 * requestLimits.messageBytesMax - 1_000).toBeLessThan(
    fileLimits.lineBytesMax,
  );
});
