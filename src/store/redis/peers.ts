import { isJsonObject } from "../../agent/json.ts";
import type { Base } from "./base.ts";
import { scripts } from "./scripts.ts";
import { listOf, textOf } from "./values.ts";
import type { Peer, Store } from "../store.ts";

/** The engines of the fleet, in one hash: what each says of itself, and until when that counts. */
export const peers = (base: Base, nowMs: () => number): Pick<Store, "announce" | "peers"> => ({
  announce: async ({ worker, tools }, untilMs) => {
    const { first } = base.shards;
    const args = [worker, `${untilMs}`, `${nowMs()}`, JSON.stringify(tools)];
    await base.run(first, scripts.announce, { keys: [first.peers], args });
  },
  peers: async (atMs) => {
    const { first } = base.shards;
    const flat = listOf(await base.glance(first, "HGETALL", first.peers)).map(textOf);
    const found: Peer[] = [];
    for (let at = 0; at < flat.length; at += 2) {
      const peer = peerOf(flat[at] ?? "", flat[at + 1] ?? "", atMs);
      if (peer !== null) found.push(peer);
    }
    return found;
  },
});

/** null: it has been silent for too long, or says what this version cannot read. */
function peerOf(worker: string, text: string, nowMs: number): Peer | null {
  const [, untilMs = "0", json = ""] = /^(\d+) (.*)$/s.exec(text) ?? [];
  if (Number(untilMs) <= nowMs) return null;
  const tools = parsed(json);
  if (!isJsonObject(tools)) return null;
  const named = Object.entries(tools).flatMap(([name, sha256]) =>
    typeof sha256 === "string" ? [[name, sha256] as const] : [],
  );
  return { worker, tools: Object.fromEntries(named) };
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
