import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "../../src/clock.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite.ts";
import { startInline } from "./inline-writer.ts";
import { type Backend, backends, sqliteParts } from "./stores.ts";

/** A file system in memory, where the machine has one. */
const folder = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

/** Those that answer within a turn of the event loop: what moves a clock by hand cannot wait for a server. */
const inProcess = backends.filter(({ name }) => !name.startsWith("redis"));

/**
 * The stores, for tests that open them thousands of times: SQLite's syncs cost nothing in memory. What an engine handed
 * to the system before it died is kept there too.
 */
export const quickBackends: readonly Backend[] = inProcess.map((backend) => {
  if (backend.name !== "sqlite") return backend;
  const fixture = (clock: Clock = systemClock) => {
    const place = mkdtempSync(join(folder, "engram-test-"));
    return {
      open: () => openSqliteStore(place, { ...sqliteParts, clock, startThread: startInline }),
      drop: () => rmSync(place, { recursive: true }),
    };
  };
  return { name: backend.name, fixture };
});

/** For where syncs do cost. */
export const slowDiskMs = 60_000;
