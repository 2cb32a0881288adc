import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Event } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { storeLimits } from "../../src/limits.ts";
import type { Store } from "../../src/store/store.ts";
import { born, logged, paused, said, spoke } from "../support/events.ts";
import {
  appendOf,
  appendTo,
  backends,
  creationOf,
  type Fixture,
  readAll,
} from "../support/stores.ts";

const codeIs = (code: string): unknown => expect.objectContaining({ code });
const first = logged([born()]);

describe.each(backends)("the log of a store: $name", ({ fixture }) => {
  let place: Fixture;
  let store: Store;
  beforeEach(() => {
    place = fixture();
    store = place.open();
  });
  afterEach(async () => {
    await store.close();
    place.drop();
  });
  const reopen = async (): Promise<void> => {
    await store.close();
    store = place.open();
  };
  const create = async (agentId: string, ...more: readonly Event[]): Promise<void> => {
    await store.create(creationOf(agentId, [born(), ...more]));
  };

  describe("create", () => {
    const request = { requestId: "r1", digest: "d1" };

    test("writes the first events with the times they came with", async () => {
      const answer = await store.create(creationOf("a", [born(), said("hi")]));
      expect(answer).toEqual({ agentId: "a", created: true, lease: null });
      expect(await store.read("a", 0)).toEqual(logged([born(), said("hi")]));
    });
    test("with a request id seen before answers the agent made then, and makes none", async () => {
      await store.create(creationOf("a", [born()], { request }));
      const again = await store.create(
        creationOf("b", [born()], { request, wakeAtMs: 0, wish: { worker: "w", untilMs: 9 } }),
      );
      expect(again).toEqual({ agentId: "a", created: false, lease: null });
      expect(await store.row("b", 0)).toBeNull();
      expect(await store.row("a", 0)).toMatchObject({ sequence: 1, status: "waiting_for_step" });
    });
    test("with that request id and another digest is already_exists", async () => {
      await store.create(creationOf("a", [born()], { request }));
      const other = { ...request, digest: "d2" };
      await expect(store.create(creationOf("b", [born()], { request: other }))).rejects.toEqual(
        codeIs("already_exists"),
      );
      expect(await store.row("b", 0)).toBeNull();
    });
    test("with the request id of a deleted agent makes a new one", async () => {
      await store.create(creationOf("a", [born()], { request }));
      await store.remove("a", 1, true);
      const answer = await store.create(creationOf("b", [born()], { request }));
      expect(answer).toMatchObject({ agentId: "b", created: true });
    });
    test("knows a request id after a restart, and twice in one turn of the loop", async () => {
      const [one, two] = await Promise.all([
        store.create(creationOf("a", [born()], { request })),
        store.create(creationOf("b", [born()], { request })),
      ]);
      expect([one.created, two.created, two.agentId]).toEqual([true, false, "a"]);
      await reopen();
      const three = await store.create(creationOf("c", [born()], { request }));
      expect(three).toMatchObject({ agentId: "a", created: false });
    });
    test("with the id of an agent that is there is already_exists and changes nothing", async () => {
      await create("a", said("hi"));
      await expect(store.create(creationOf("a", [born()]))).rejects.toEqual(
        codeIs("already_exists"),
      );
      expect(await readAll(store, "a")).toHaveLength(2);
    });
  });

  describe("append", () => {
    test("writes behind the head that the writer knew", async () => {
      await create("a");
      await store.append(appendOf("a", first, [said("1"), said("2")], { atMs: 77 }));
      expect(await store.read("a", 1)).toEqual([
        { sequence: 2, atMs: 77, event: said("1") },
        { sequence: 3, atMs: 77, event: said("2") },
      ]);
    });
    test("behind another head is a conflict and writes nothing", async () => {
      await create("a", said("1"));
      const before = await store.row("a", 0);
      const ahead = logged([born(), said("1"), said("2")]);
      for (const known of [first, ahead])
        await expect(
          store.append(appendOf("a", known, [paused()], { wakeAtMs: 5, dropDraft: true })),
        ).rejects.toEqual(codeIs("conflict"));
      expect(await readAll(store, "a")).toHaveLength(2);
      expect(await store.row("a", 0)).toEqual(before);
      expect(await store.nextWakeMs()).toBeNull();
    });
    test("of two that knew the same head one is written", async () => {
      await create("a");
      const outcomes = await Promise.allSettled([
        store.append(appendOf("a", first, [said("1")])),
        store.append(appendOf("a", first, [said("2")])),
      ]);
      expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
      expect(await store.read("a", 1)).toMatchObject([{ event: said("1") }]);
    });
    test("to an agent that is not there is not_found", async () => {
      await expect(store.append(appendOf("a", first, [said("1")]))).rejects.toEqual(
        codeIs("not_found"),
      );
      await create("a");
      await store.remove("a", 1, true);
      await expect(store.append(appendOf("a", first, [said("1")]))).rejects.toEqual(
        codeIs("not_found"),
      );
    });
    test("of one agent leaves the others alone", async () => {
      await create("a");
      await create("b");
      await store.append(appendOf("b", first, [said("1")]));
      expect(await readAll(store, "a")).toEqual([...first]);
    });
  });

  describe("read", () => {
    test("gives nothing at the head, and not_found of an agent that is not there", async () => {
      await create("a");
      expect(await store.read("a", 1)).toEqual([]);
      expect(await store.read("a", 9)).toEqual([]);
      await expect(store.read("b", 0)).rejects.toEqual(codeIs("not_found"));
    });
    test("gives a long log in pages, each event once and in order", async () => {
      const events = Array.from({ length: 2 * storeLimits.readEventsMax }, (_, n) => said(`${n}`));
      await create("a", ...events);
      const lengths: number[] = [];
      for (let after = 0; ; after += lengths.at(-1) ?? 0) {
        const page = await store.read("a", after);
        if (page.length === 0) break;
        lengths.push(page.length);
      }
      expect(lengths).toEqual([storeLimits.readEventsMax, storeLimits.readEventsMax, 1]);
      expect(await readAll(store, "a")).toEqual(logged([born(), ...events]));
    });
    test("gives all texts that JSON can carry as they were", async () => {
      const texts = [
        "",
        "\u0000",
        "a\u0000b",
        "grün 🙂",
        "\n\r\u2028",
        '"\\',
        "\ud83d",
        "x".repeat(70_000),
      ];
      await create("a", ...texts.map((text) => said(text)));
      await reopen();
      expect(await readAll(store, "a")).toEqual(logged([born(), ...texts.map((it) => said(it))]));
    });
  });

  test("logs survive a restart and grow on", async () => {
    await create("a");
    await store.append(appendOf("a", first, [said("1")]));
    await reopen();
    await appendTo(store, "a", [spoke("one", 2)]);
    await reopen();
    const log = await readAll(store, "a");
    expect(log).toEqual(logged([born(), said("1"), spoke("one", 2)]));
    expect(fold(log).transcript).toHaveLength(3);
  });

  describe("follow", () => {
    test("hints at each change of the log or the draft, when it can be read", async () => {
      await create("a", said("1"));
      const heads: Promise<number>[] = [];
      const stop = store.follow("a", () => {
        heads.push(readAll(store, "a").then((log) => log.length));
      });
      await appendTo(store, "a", [said("2")]);
      await appendTo(store, "a", [said("3")]);
      expect(await Promise.all(heads)).toEqual([3, 4]);
      stop();
      await appendTo(store, "a", [said("4")]);
      expect(heads).toHaveLength(2);
    });
    test("tells every follower of this agent, of no other and of no refused change", async () => {
      await create("a");
      await create("b");
      const seen: string[] = [];
      const stops = [
        store.follow("a", () => seen.push("a1")),
        store.follow("a", () => seen.push("a2")),
        store.follow("b", () => seen.push("b")),
      ];
      await expect(store.append(appendOf("a", [], [born()]))).rejects.toEqual(codeIs("conflict"));
      expect(seen).toEqual([]);
      await appendTo(store, "a", [said("1")]);
      expect(seen.toSorted()).toEqual(["a1", "a2"]);
      for (const stop of stops) stop();
    });
    test("can begin before the agent is there, and hints at its removal", async () => {
      let hints = 0;
      const stop = store.follow("a", () => hints++);
      await create("a");
      expect(hints).toBe(1);
      await store.remove("a", 1, true);
      expect(hints).toBe(2);
      stop();
    });
    test("the same listener twice is two, stopped one by one", async () => {
      let hints = 0;
      const listener = (): void => void hints++;
      const stops = [store.follow("a", listener), store.follow("a", listener)];
      stops[0]?.();
      stops[0]?.();
      await create("a");
      expect(hints).toBe(1);
      stops[1]?.();
    });
  });
});
