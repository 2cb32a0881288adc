import { type Hints, makeHints, wakes } from "../hints.ts";
import type { Shard, Shards } from "./shards.ts";
import { numberOf } from "./values.ts";

/**
 * Hints of this engine and, by pub/sub, of the others. Those may be lost with a connection; then followers are told to look
 * by themselves.
 */
export interface RedisHints extends Hints {
  /** Begins a message of this engine's. */
  readonly origin: string;
  /** A message of any engine's. */
  heard(message: string): void;
  /** A change of this engine's has given an agent this wake time, as Redis answered it; nothing: none, or it is as it was. */
  woken(reply: unknown): void;
  /** Something may have happened in these shards that nobody was told of. */
  lookAt(shards: readonly Shard[]): void;
  /** What asks for the next wake time: those behind the one last told are no news. */
  asking(ask: () => Promise<number | null>): Promise<number | null>;
}

export function makeRedisHints(shards: Shards, nowMs: () => number): RedisHints {
  const hints = makeHints();
  const origin = crypto.randomUUID();
  /** How many follow which agent. */
  const followers = new Map<string, number>();
  let told: number | null = null;
  let asked = 0;

  const follow: Hints["follow"] = (agentId, hint) => {
    followers.set(agentId, (followers.get(agentId) ?? 0) + 1);
    const unfollow = hints.follow(agentId, hint);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      unfollow();
      const rest = (followers.get(agentId) ?? 1) - 1;
      if (rest === 0) followers.delete(agentId);
      else followers.set(agentId, rest);
    };
  };
  /** Where the one last told is over, who was due then may be another's by now. */
  const isNews = (wakeAtMs: number): boolean =>
    asked > 0 || told === null || wakeAtMs < told || told <= nowMs();
  const woken = (wakeAt: unknown): void => {
    if (wakeAt !== undefined && wakeAt !== "" && isNews(numberOf(wakeAt))) hints.send(wakes);
  };
  return {
    origin,
    follow,
    send: hints.send,
    heard: (message) => {
      // A newer engine may say more.
      const [from = "", wakeAtMs = "", agentId = ""] = message.split(" ", 3);
      if (from === origin) return; // Its own followers know already.
      if (agentId !== "") hints.send(agentId);
      woken(wakeAtMs);
    },
    woken,
    lookAt: (those) => {
      if (those.length === 0) return;
      for (const agentId of followers.keys())
        if (agentId !== wakes && those.includes(shards.of(agentId))) hints.send(agentId);
      hints.send(wakes);
    },
    asking: async (ask) => {
      asked++;
      try {
        told = await ask();
        return told;
      } finally {
        asked--;
      }
    },
  };
}
