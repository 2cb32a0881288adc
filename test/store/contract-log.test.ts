import { describe, expect, test } from "bun:test";
import { fold } from "../../src/agent/fold.ts";
import { storeLimits } from "../../src/limits.ts";
import { born, logged, paused, said, spoke } from "../support/events.ts";
import { codeIs, contract } from "../support/store-contract.ts";
import { appendOf, appendTo, creationOf, readAll } from "../support/stores.ts";

const first = logged([born()]);

contract("the log of a store", (at) => {
  describe("create", () => {
    const request = { requestId: "r1", digest: "d1" };

    test("writes the first events with the times they came with", async () => {
      const answer = await at.store.create(creationOf("a", [born(), said("hi")]));
      expect(answer).toEqual({ agentId: "a", created: true, lease: null });
      expect(await at.store.read("a", 0)).toEqual(logged([born(), said("hi")]));
    });
    test("with a request id seen before answers the agent made then, and makes none", async () => {
      await at.store.create(creationOf("a", [born()], { request }));
      const again = await at.store.create(
        creationOf("b", [born()], { request, wakeAtMs: 0, wish: { worker: "w", untilMs: 9 } }),
      );
      expect(again).toEqual({ agentId: "a", created: false, lease: null });
      expect(await at.store.row("b", 0)).toBeNull();
      expect(await at.store.row("a", 0)).toMatchObject({ sequence: 1, status: "waiting_for_step" });
    });
    test("with that request id and another digest is already_exists", async () => {
      await at.store.create(creationOf("a", [born()], { request }));
      const other = { ...request, digest: "d2" };
      await expect(at.store.create(creationOf("b", [born()], { request: other }))).rejects.toEqual(
        codeIs("already_exists"),
      );
      expect(await at.store.row("b", 0)).toBeNull();
    });
    test("is known by its request, until the agent is deleted", async () => {
      expect(await at.store.made(request)).toBeNull();
      await at.store.create(creationOf("a", [born()], { request }));
      expect(await at.store.made(request)).toBe("a");
      expect(await at.store.made({ ...request, digest: "d2" })).toBeNull();
      expect(await at.store.made({ ...request, requestId: "r2" })).toBeNull();
      await at.store.remove("a", 1, true);
      expect(await at.store.made(request)).toBeNull();
    });
    test("with the request id of a deleted agent makes a new one", async () => {
      await at.store.create(creationOf("a", [born()], { request }));
      await at.store.remove("a", 1, true);
      const answer = await at.store.create(creationOf("b", [born()], { request }));
      expect(answer).toMatchObject({ agentId: "b", created: true });
    });
    test("knows a request id after a restart, and twice in one turn of the loop", async () => {
      const [one, two] = await Promise.all([
        at.store.create(creationOf("a", [born()], { request })),
        at.store.create(creationOf("b", [born()], { request })),
      ]);
      expect([one.created, two.created, two.agentId]).toEqual([true, false, "a"]);
      await at.reopen();
      const three = await at.store.create(creationOf("c", [born()], { request }));
      expect(three).toMatchObject({ agentId: "a", created: false });
    });
    test("with the id of an agent that is there is already_exists and changes nothing", async () => {
      await at.create("a", said("hi"));
      await expect(at.store.create(creationOf("a", [born()]))).rejects.toEqual(
        codeIs("already_exists"),
      );
      expect(await readAll(at.store, "a")).toHaveLength(2);
    });
  });

  describe("append", () => {
    test("writes behind the head that the writer knew", async () => {
      await at.create("a");
      await at.store.append(appendOf("a", first, [said("1"), said("2")], { atMs: 77 }));
      expect(await at.store.read("a", 1)).toEqual([
        { sequence: 2, atMs: 77, event: said("1") },
        { sequence: 3, atMs: 77, event: said("2") },
      ]);
    });
    test("behind another head is a conflict and writes nothing", async () => {
      await at.create("a", said("1"));
      const before = await at.store.row("a", 0);
      const ahead = logged([born(), said("1"), said("2")]);
      for (const known of [first, ahead])
        await expect(
          at.store.append(appendOf("a", known, [paused()], { wakeAtMs: 5, dropDraft: true })),
        ).rejects.toEqual(codeIs("conflict"));
      expect(await readAll(at.store, "a")).toHaveLength(2);
      expect(await at.store.row("a", 0)).toEqual(before);
      expect(await at.store.nextWakeMs()).toBeNull();
    });
    test("of two that knew the same head one is written", async () => {
      await at.create("a");
      const outcomes = await Promise.allSettled([
        at.store.append(appendOf("a", first, [said("1")])),
        at.store.append(appendOf("a", first, [said("2")])),
      ]);
      expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
      expect(await at.store.read("a", 1)).toMatchObject([{ event: said("1") }]);
    });
    test("to an agent that is not there is not_found", async () => {
      await expect(at.store.append(appendOf("a", first, [said("1")]))).rejects.toEqual(
        codeIs("not_found"),
      );
      await at.create("a");
      await at.store.remove("a", 1, true);
      await expect(at.store.append(appendOf("a", first, [said("1")]))).rejects.toEqual(
        codeIs("not_found"),
      );
    });
    test("of one agent leaves the others alone", async () => {
      await at.create("a");
      await at.create("b");
      await at.store.append(appendOf("b", first, [said("1")]));
      expect(await readAll(at.store, "a")).toEqual([...first]);
    });
  });

  describe("read", () => {
    test("gives nothing at the head, and not_found of an agent that is not there", async () => {
      await at.create("a");
      expect(await at.store.read("a", 1)).toEqual([]);
      expect(await at.store.read("a", 9)).toEqual([]);
      await expect(at.store.read("b", 0)).rejects.toEqual(codeIs("not_found"));
    });
    test("gives a long log in pages, each event once and in order", async () => {
      const events = Array.from({ length: 2 * storeLimits.readEventsMax }, (_, n) => said(`${n}`));
      await at.create("a", ...events);
      const lengths: number[] = [];
      for (let after = 0; ; after += lengths.at(-1) ?? 0) {
        const page = await at.store.read("a", after);
        if (page.length === 0) break;
        lengths.push(page.length);
      }
      expect(lengths).toEqual([storeLimits.readEventsMax, storeLimits.readEventsMax, 1]);
      expect(await readAll(at.store, "a")).toEqual(logged([born(), ...events]));
    });
    test("gives events of which each fills a page, from anywhere on", async () => {
      const large = "x".repeat(storeLimits.readBytesMax);
      const events = [born(), ...["a", "b", "c"].map((end) => said(large + end))];
      await at.create("a", ...events.slice(1));
      expect(await readAll(at.store, "a")).toEqual(logged(events));
      for (let after = 0; after < events.length; after++)
        expect((await at.store.read("a", after))[0]).toEqual(logged(events)[after]);
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
      await at.create("a", ...texts.map((text) => said(text)));
      await at.reopen();
      expect(await readAll(at.store, "a")).toEqual(
        logged([born(), ...texts.map((it) => said(it))]),
      );
    });
  });

  test("logs survive a restart and grow on", async () => {
    await at.create("a");
    await at.store.append(appendOf("a", first, [said("1")]));
    await at.reopen();
    await appendTo(at.store, "a", [spoke("one", 2)]);
    await at.reopen();
    const log = await readAll(at.store, "a");
    expect(log).toEqual(logged([born(), said("1"), spoke("one", 2)]));
    expect(fold(log).transcript).toHaveLength(3);
  });

  describe("follow", () => {
    test("hints at each change of the log or the draft, when it can be read", async () => {
      await at.create("a", said("1"));
      const heads: Promise<number>[] = [];
      const stop = at.store.follow("a", () => {
        heads.push(readAll(at.store, "a").then((log) => log.length));
      });
      await appendTo(at.store, "a", [said("2")]);
      await appendTo(at.store, "a", [said("3")]);
      expect(await Promise.all(heads)).toEqual([3, 4]);
      stop();
      await appendTo(at.store, "a", [said("4")]);
      expect(heads).toHaveLength(2);
    });
    test("tells every follower of this agent, of no other and of no refused change", async () => {
      await at.create("a");
      await at.create("b");
      const seen: string[] = [];
      const stops = [
        at.store.follow("a", () => seen.push("a1")),
        at.store.follow("a", () => seen.push("a2")),
        at.store.follow("b", () => seen.push("b")),
      ];
      await expect(at.store.append(appendOf("a", [], [born()]))).rejects.toEqual(
        codeIs("conflict"),
      );
      expect(seen).toEqual([]);
      await appendTo(at.store, "a", [said("1")]);
      expect(seen.toSorted()).toEqual(["a1", "a2"]);
      for (const stop of stops) stop();
    });
    test("can begin before the agent is there, and hints at its removal", async () => {
      let hints = 0;
      const stop = at.store.follow("a", () => hints++);
      await at.create("a");
      expect(hints).toBe(1);
      await at.store.remove("a", 1, true);
      expect(hints).toBe(2);
      stop();
    });
    test("the same listener twice is two, stopped one by one", async () => {
      let hints = 0;
      const listener = (): void => void hints++;
      const stops = [at.store.follow("a", listener), at.store.follow("a", listener)];
      stops[0]?.();
      stops[0]?.();
      await at.create("a");
      expect(hints).toBe(1);
      stops[1]?.();
    });
  });
});
