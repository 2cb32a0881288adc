import { statusOf } from "../../agent/state.ts";
import { encodeState, snapshotHash } from "../codec.ts";
import { otherHead } from "../staging.ts";
import type { Base } from "./base.ts";
import { beginning, chainedEvents } from "./chain.ts";
import type { Heads } from "./heads.ts";
import { leaseOf } from "./leases.ts";
import { infoOf, specOf } from "./row.ts";
import { scripts } from "./scripts.ts";
import { stagedHead } from "./staging.ts";
import { flag, given, listOf, numberOf, textOf } from "./values.ts";
import type { Creation, Lease } from "../store.ts";

export type Written =
  | { readonly outcome: "made"; readonly lease: Lease | null }
  /** By which request. */
  | { readonly outcome: "there"; readonly requestId: string }
  | { readonly outcome: "gone" }
  /** So many events stand aside, other than the creation names. */
  | { readonly outcome: "aside"; readonly head: number };

/**
 * Writes the agent of a creation under `agentId`, unless it is there; `reserved`: its request id stands for it. Fails with
 * invalid_argument where the log does not end as the creation says.
 */
export async function writeCreation(
  { base, heads }: { readonly base: Base; readonly heads: Heads },
  agentId: string,
  creation: Creation,
  reserved: boolean,
): Promise<Written> {
  const { events, staged, headHash, state, nowMs, wakeAtMs, wish, request, moved } = creation;
  const draft = moved?.draft ?? null;
  const shard = base.shards.of(agentId);
  const from = staged === 0 ? beginning(agentId) : await stagedHead(base, agentId);
  const { args, hash, head } = chainedEvents(from, events);
  const snapshot = creation.snapshot ? encodeState(state) : "";
  const reply = listOf(
    await base.change(agentId, scripts.create, {
      keys: [
        shard.agent(agentId),
        shard.log(agentId),
        shard.marks(agentId),
        shard.staged(agentId),
        shard.stagedLog(agentId),
        shard.stagedMarks(agentId),
        shard.wake,
        shard.index,
        shard.gone,
        shard.channel,
        shard.draft(agentId),
      ],
      args: [
        agentId,
        given(request?.requestId),
        flag(reserved),
        `${head.sequence}`,
        head.hash,
        statusOf(state),
        infoOf(state),
        specOf(state),
        `${nowMs}`,
        given(wakeAtMs),
        given(wish?.worker),
        given(wish?.untilMs),
        `${staged}`,
        given(headHash),
        snapshot,
        snapshot === "" ? "" : snapshotHash(hash, snapshot).toHex(),
        ...base.telling(shard),
        `${moved?.epoch ?? 0}`,
        `${moved?.workedMs ?? 0}`,
        draft === null ? "" : JSON.stringify(draft.call),
        given(draft?.call.afterSequence),
        ...args,
        ...(draft?.pieces ?? []).map((piece) => JSON.stringify(piece)),
      ],
    }),
  );
  switch (reply[0]) {
    case "there":
      return { outcome: "there", requestId: textOf(reply[1]) };
    case "gone":
      return { outcome: "gone" };
    case "aside":
      return { outcome: "aside", head: numberOf(reply[1]) };
    case "otherHead":
      throw otherHead(agentId, given(headHash));
    default:
      heads.set(agentId, head);
      base.hints.send(agentId);
      base.hints.woken(reply[2]);
      return { outcome: "made", lease: leaseOf(agentId, reply[1]) };
  }
}
