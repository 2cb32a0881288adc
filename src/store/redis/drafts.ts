import { isJsonObject } from "../../agent/json.ts";
import { EngramError, messageOf } from "../../errors.ts";
import { storeLimits } from "../../limits.ts";
import { decodeCall } from "../codec.ts";
import type { Base } from "./base.ts";
import { scripts } from "./scripts.ts";
import { listOf, numberOf, textOf } from "./values.ts";
import type { DraftPiece, Store } from "../store.ts";

export const drafts = (base: Base): Pick<Store, "writeDraft" | "readDraft"> => ({
  writeDraft: async ({ agentId, epoch, workedMs }, call, pieces) => {
    const shard = base.shards.of(agentId);
    const reply = listOf(
      await base.change(agentId, scripts.writeDraft, {
        keys: [shard.agent(agentId), shard.draft(agentId), shard.channel],
        args: [
          agentId,
          `${epoch}`,
          `${workedMs}`,
          `${call.afterSequence}`,
          JSON.stringify(call),
          ...base.telling(shard),
          ...pieces.map((piece) => JSON.stringify(piece)),
        ],
      }),
    );
    switch (reply[0]) {
      case "missing":
        throw new EngramError("not_found", `no agent ${agentId}`);
      case "fenced":
        throw new EngramError("fenced", `epoch ${epoch} of agent ${agentId} is stale`);
      case "stopped":
        throw new EngramError("conflict", `agent ${agentId} is ${textOf(reply[1])}`);
      default:
        base.hints.send(agentId);
    }
  },
  readDraft: async (agentId, from) => {
    const shard = base.shards.of(agentId);
    const [outcome, call, total, pieces] = listOf(
      await base.run(shard, scripts.readDraft, {
        keys: [shard.agent(agentId), shard.draft(agentId)],
        args: [`${from}`, `${from + storeLimits.readEventsMax - 1}`],
      }),
    );
    if (outcome === "none") return null;
    return {
      call: decodeCall(textOf(call)),
      pieces: listOf(pieces).map((piece) => decodePiece(textOf(piece))),
      piecesTotal: numberOf(total),
    };
  },
});

const isPiece = (value: unknown): value is DraftPiece =>
  isJsonObject(value) &&
  (value["kind"] === "thinking" || value["kind"] === "text") &&
  typeof value["offset"] === "number" &&
  typeof value["content"] === "string";

function decodePiece(body: string): DraftPiece {
  try {
    const value: unknown = JSON.parse(body);
    if (isPiece(value)) return value;
  } catch (cause) {
    throw new EngramError("corrupt", `a stored draft is no JSON: ${messageOf(cause)}`, { cause });
  }
  throw new EngramError("corrupt", `a stored draft has no pieces: ${body.slice(0, 80)}`);
}
