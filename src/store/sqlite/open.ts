import { Database } from "bun:sqlite";
import { EngramError } from "../../errors.ts";
import { auditLimits } from "../audit/audit-limits.ts";
import type { Log } from "../../log.ts";
import { leaseCheck, stagedCheck } from "./checks.ts";
import { damaged, type KnownDamage } from "./damage.ts";
import { checkPromise } from "./identity.ts";
import { bytesOf, type Finding, findingsOf, isSpreading, structureFaults } from "./scrub.ts";
import { startScrub } from "./scrub-worker.ts";
import { oneLine } from "./fault.ts";
import { thrownAway } from "./perform-staged.ts";
import type { Held, StagedRow } from "./rows.ts";
import { makePrivate } from "./private.ts";
import { prepareSchema } from "./schema.ts";

export type OpenParts = {
  readonly log: Log;
  readonly acceptDataLoss?: boolean;
};

export type OpenDatabase = {
  readonly db: Database;
  readonly stopScrub: () => void;
  /** Something stands aside that nobody will take. */
  readonly hasStaged: boolean;
};

/**
 * The connection that reads. Before that it makes the file ready, while nobody else has it, and shows it to be what was
 * written: a large one meanwhile, until `stopScrub`. Fails with corrupt where the file as a whole is not to be gone on with.
 */
export function openDatabase(
  path: string,
  { log, acceptDataLoss = false }: OpenParts,
  known: KnownDamage,
): OpenDatabase {
  // First, since a file that is refused is not to be changed.
  const keep = checkPromise(path, { log, acceptDataLoss });
  const small = bytesOf(path) <= auditLimits.atOnceBytesMax;
  makePrivate(path);
  const db = new Database(path, { create: true, strict: true });
  try {
    if (small && !acceptDataLoss) mustNotSpread(db, path);
    prepareSchema(db, path);
    keep(db);
    db.run("PRAGMA journal_mode = WAL");
    db.run("PRAGMA synchronous = FULL");
    db.run("PRAGMA secure_delete = ON");
    freeLeases(db);
    const hasStaged = throwStagedAway(db);
    db.run("PRAGMA query_only = ON");
    const found = findingTo(known, log);
    if (!small) return { db, hasStaged, stopScrub: startScrub(path, found).stop };
    for (const finding of findingsOf(db)) if (finding !== null) found(finding);
    return { db, hasStaged, stopScrub: () => undefined };
  } catch (error) {
    db.close(true);
    throw error;
  }
}

function mustNotSpread(db: Database, path: string): void {
  const complaint = structureFaults(db).find(isSpreading);
  if (complaint === undefined) return;
  throw new EngramError(
    "corrupt",
    `${path} is damaged so that writing may spread it (${oneLine(complaint)}): put a backup back, or start with --accept-data-loss to go on with what can be read`,
  );
}

const findingTo =
  (known: KnownDamage, log: Log) =>
  ({ agentId, fault }: Finding): void => {
    if (agentId !== null) known.note(agentId, damaged(agentId, fault));
    else log("error", "the database is damaged: run engram verify", { fault: oneLine(fault) });
  };

/**
 * The folder is ours alone: whoever held leases is gone. And the times that others wait for are of a clock that may have
 * been set since: each is looked at now, and waits for the rest. A row that was changed is left as it is, to be found.
 */
function freeLeases(db: Database): void {
  type Leased = Parameters<typeof leaseCheck>[0] &
    Pick<Held, "id"> & { readonly lease_check: number };
  const set = db.query("UPDATE agent SET wake = 0, lease_until = 0, lease_check = ? WHERE id = ?");
  const leased = db
    .query<Leased, []>(
      `SELECT id, agent_id, wake, lease_until, worker, epoch, claims, worked, lease_check FROM agent
       WHERE wake IS NOT NULL`,
    )
    .all();
  db.transaction(() => {
    for (const row of leased)
      if (leaseCheck(row) === row.lease_check)
        set.run(leaseCheck({ ...row, wake: 0, lease_until: 0 }), row.id);
  })();
}

/** Whoever put events aside is gone with its engine: their ids are free, and a sweep removes the rest. True: there is some. */
function throwStagedAway(db: Database): boolean {
  const set = db.query<null, [StagedRow]>(
    "UPDATE staged SET agent_id = $agent_id, touched = $touched, row_check = $row_check WHERE agent = $agent",
  );
  const rows = db.query<StagedRow, []>("SELECT * FROM staged").all();
  db.transaction(() => {
    for (const row of rows) if (stagedCheck(row) === row.row_check) set.run(thrownAway(row));
  })();
  return rows.length > 0;
}
