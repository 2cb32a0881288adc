import announceText from "./lua/announce.lua" with { type: "text" };
import appendText from "./lua/append.lua" with { type: "text" };
import beatText from "./lua/beat.lua" with { type: "text" };
import claimText from "./lua/claim.lua" with { type: "text" };
import createText from "./lua/create.lua" with { type: "text" };
import expiredText from "./lua/expired.lua" with { type: "text" };
import fenceText from "./lua/fence.lua" with { type: "text" };
import forestallText from "./lua/forestall.lua" with { type: "text" };
import freeText from "./lua/free.lua" with { type: "text" };
import joinText from "./lua/join.lua" with { type: "text" };
import probeText from "./lua/probe.lua" with { type: "text" };
import readDraftText from "./lua/read-draft.lua" with { type: "text" };
import readText from "./lua/read.lua" with { type: "text" };
import releaseText from "./lua/release.lua" with { type: "text" };
import removeText from "./lua/remove.lua" with { type: "text" };
import renewText from "./lua/renew.lua" with { type: "text" };
import reserveText from "./lua/reserve.lua" with { type: "text" };
import rowsText from "./lua/rows.lua" with { type: "text" };
import sharedText from "./lua/shared.lua" with { type: "text" };
import snapshotText from "./lua/snapshot.lua" with { type: "text" };
import stageText from "./lua/stage.lua" with { type: "text" };
import tallyText from "./lua/tally.lua" with { type: "text" };
import unmarkText from "./lua/unmark.lua" with { type: "text" };
import wakesText from "./lua/wakes.lua" with { type: "text" };
import unstageText from "./lua/unstage.lua" with { type: "text" };
import writeDraftText from "./lua/write-draft.lua" with { type: "text" };
import { replyCode } from "./faults.ts";
import type { Command } from "./line.ts";
import type { Servers } from "./servers.ts";
import type { Shard } from "./shards.ts";

/** A script that Redis runs as one step, and the name by which it knows it once it has seen it. */
export type Script = {
  readonly text: string;
  readonly sha1: string;
  /** Whether the replicas that are to confirm must have what it writes, or reads, before anyone hears of it. */
  readonly sure: boolean;
};

const scriptOf = (text: string, sure: boolean): Script => ({
  text,
  sha1: new Bun.CryptoHasher("sha1").update(text).digest("hex"),
  sure,
});

/** Of the store itself. */
const plain = (own: string, sure: boolean): Script => scriptOf(`${sharedText}\n${own}`, sure);

/** Of agents and who drives them: its last key is its shard's `store`, its last argument the engine's format. */
const script = (own: string, writes: boolean, sure = writes): Script =>
  scriptOf(`${sharedText}\nlocal WRITES = ${writes}\n${fenceText}\n${own}`, sure);

/** One for each operation of the store; all keys of a call are of one shard. */
export const scripts = {
  // What is lost of it with its server is told again soon.
  announce: script(announceText, false),
  append: script(appendText, true),
  beat: plain(beatText, false),
  claim: script(claimText, true),
  create: script(createText, true),
  expired: script(expiredText, false),
  forestall: script(forestallText, true),
  free: script(freeText, true),
  join: plain(joinText, true),
  probe: script(probeText, true),
  readDraft: script(readDraftText, false, true),
  read: script(readText, false, true),
  release: script(releaseText, true),
  remove: script(removeText, true),
  // A lease that is lost with its server is another's a little earlier, no more.
  renew: script(renewText, false),
  reserve: script(reserveText, true),
  rows: script(rowsText, false),
  // The log behind it is read next.
  snapshot: script(snapshotText, false),
  stage: script(stageText, true),
  tally: script(tallyText, false),
  unmark: script(unmarkText, true),
  wakes: script(wakesText, false),
  unstage: script(unstageText, false),
  writeDraft: script(writeDraftText, true),
} as const;

/** Runs a script on keys of one shard; a server that does not know it (yet, or any more) is given its text. */
export async function runScript(
  servers: Servers,
  shard: Shard,
  { text, sha1, sure }: Script,
  { keys, args }: { readonly keys: readonly string[]; readonly args: readonly string[] },
): Promise<unknown> {
  const rest = [`${keys.length}`, ...keys, ...args];
  const send = (command: Command): Promise<unknown> =>
    sure ? servers.sure(shard, command) : servers.send(shard, command);
  try {
    return await send(["EVALSHA", sha1, ...rest]);
  } catch (error) {
    if (replyCode(error) !== "NOSCRIPT") throw error;
    return send(["EVAL", text, ...rest]);
  }
}
