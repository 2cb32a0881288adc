/** Every bound of the engine, with its unit and its reason. Settings may lower some; nothing is unbounded. */

const kib = 1024;
const mib = 1024 * kib;

/** Bounds of what a client may send; past one the call is refused and nothing is recorded. */
export const requestLimits = {
  /** One message on the wire: what most gRPC servers take; larger files belong in a tool. */
  messageBytesMax: 4 * mib,
  /** What most gRPC clients take of one answer, with room for what stands around the text that makes it large. */
  answerBytesMax: 4 * mib - 64 * kib,
  /** A user's text, since Replay and Chat have to send it as one event. */
  contentBytesMax: 4 * mib - 64 * kib,
  /** Fields, entries and items of one message: parsing takes up to 3 us each. 128 tools may have 75 each. */
  messagePartsMax: 10_000,
  /** What an agent is told in all, as JSON: half a message, so that an answer has room for it. */
  specBytesMax: 2 * mib,
  /** JSON's objects and lists in one another: protobuf's parsers stop at 100 messages, and a Struct has 3 a level. */
  jsonLevelsMax: 30,
  goalBytesMax: 256 * kib,
  systemPromptBytesMax: 256 * kib,
  modelNameBytesMax: 512,
  metadataEntriesMax: 64,
  metadataKeyBytesMax: 256,
  metadataValueBytesMax: 4 * kib,
  /** Model servers take no more than 2. */
  temperatureMax: 5,
  toolsMax: 128,
  /** An id is an index key. */
  idBytesMax: 256,
  attachmentsMax: 16,
  attachmentNameBytesMax: 512,
  reasonBytesMax: 4 * kib,
  patchOperationsMax: 1_000,
  pageSizeDefault: 50,
  pageSizeMax: 1000,
  /** Agents of a page that are read between two turns of the event loop: each may be told 2 MiB. */
  listedAtOnce: 32,
  sendMessageTimeoutMsDefault: 60_000,
  sendMessageTimeoutMsMax: 24 * 3600_000,
} as const;

/** Bounds of one turn and its model calls. */
export const turnLimits = {
  stepsDefault: 32,
  /** Transient model faults in a row before the turn fails. */
  attemptsMax: 5,
  retryDelayMsFirst: 500,
  retryDelayMsMax: 30_000,
  /** A server may ask for hours (Retry-After); more than a day is a mistake. */
  retryAfterMsMax: 24 * 3600_000,
  /** Claims of an agent without an append in between: its step kills the engine. */
  claimsWithoutAppendMax: 3,
  /** Claims without a word from the worker after which an agent is driven by itself, so that others do not die with it. */
  claimsTrusted: 2,
  /** Text and thinking of one reply: each is one event, which clients have to take. A model that writes more is looping. */
  replyBytesMax: 4 * mib - 64 * kib,
  /** Text and thinking of a reply that is gone on with: more leaves it no room, and is more than models read. */
  continuedCharsMax: mib,
  toolCallsPerReplyMax: 32,
  toolInputCharsMax: mib,
  /** Objects and lists in one another: no client parses them, but checks go down level by level. */
  toolInputLevelsMax: 200,
  /** Of the times that one answer was gone on with, as the log has them. */
  continuationsKept: 64,
} as const;

/** Bounds of what a model is sent, and how its size is estimated before the model has counted it. */
export const contextLimits = {
  /**
   * Where max_context_tokens says nothing: what model servers commonly run with, and it keeps the cost of a step bounded.
   * It is no promise of the model's, so what is larger by itself is sent all the same.
   */
  tokensDefault: 32_768,
  /** Kept free for the reply, or a quarter of a smaller context. */
  replyTokens: 2_048,
  /** English prose has about four characters a token; other texts are found out by the model's own count. */
  charsPerToken: 4,
  /** What each byte of UTF-8 that a character has more than one of adds to its weight. */
  weightPerByte: 1.5,
  /** The engine's own words, and a message's role and times. */
  systemTokens: 60,
  messageTokens: 24,
  /** What vision models commonly take for one picture. */
  imageTokens: 800,
  /** A count beyond these is no count of this prompt: a server that cut it, or one that counts cached parts apart. */
  scaleLeast: 0.25,
  scaleMost: 4,
  /** Of the context that what is condensed at once may take: two summaries take a quarter, the instructions little. */
  readableShare: 0.6,
  /** Of a prompt that a server has refused without a figure, what it is taken to be able to read. */
  refusedShare: 0.75,
  /** Of one message or result that is condensed. */
  condensedItemCharsMax: 4_000,
  /** Of each, where the model wrote no summary. */
  quotedCharsMax: 200,
} as const;

/** Ceilings of a tool call's limits; a client, a tool or a setting that asks for more gets these. */
export const toolCeilings = {
  /** About 400 s of the slowest code measured; the time limit comes first. */
  fuel: 100_000_000_000,
  memoryBytes: 1024 * mib,
  timeoutMs: 600_000,
  /** An output is one event, which clients have to take. */
  outputBytesMax: 4 * mib - 64 * kib,
} as const;

/** Bounds of the port. The times are measured on the monotonic clock by a sweep, so each may be late by its interval. */
export const serverLimits = {
  sweepIntervalMs: 1_000,
  /** From accepting a connection to knowing what it speaks; with TLS the handshake counts. */
  sniffMs: 5_000,
  /** From then to its first whole request head. */
  headMs: 10_000,
  /** The whole request of a call that takes one message, and the first message of one that takes a stream. */
  bodyMs: 30_000,
  /** A connection without a call; clients open another when they need one. */
  idleMs: 60_000,
  /** After a polite goodbye (GOAWAY, an error in place of the awaited body) what is still open is destroyed. */
  goodbyeMs: 5_000,
  /** An HTTP/2 connection with calls is asked for a sign of life this often: sleeping peers keep their connection. */
  pingIntervalMs: 30_000,
  pingTimeoutMs: 20_000,
  /** A connection without calls costs about 16 KiB. */
  connectionsMax: 16_384,
  /** Kept for files, child processes and model calls: at the limit of descriptors accepting spins at full load. */
  descriptorsReserved: 256,
  /** Where the limit of descriptors cannot be read. */
  connectionsMaxUnknown: 4_096,
  /** A client's gRPC channel is one connection, so this is how many chats a client can hold; each takes about 18 KiB. */
  streamsPerConnectionMax: 1_024,
  /** Until a connection's first request message: a flood of empty streams takes 20 us each, at once. */
  streamsAtFirst: 100,
  /** Streams in a row that ask nothing, after which a newcomer is cut: floods are made of them. */
  unaskedStreamsMax: 150,
  /** Of them those that break HTTP/2's rules, so that the server has to reset them: clients that cancel do not. */
  brokenStreamsMax: 10,
  /** Over all connections: 300 MiB at 18 KiB each. */
  callsMax: 16_384,
  /** One HTTP/2 connection's buffers, in MB. */
  sessionMemoryMb: 16,
  headerBytesMax: 16 * kib,
  headerPairsMax: 64,
  /** Of a failure's message in its header: past 8 KiB gRPC clients lose it, past 64 the connection with it. */
  statusBytesMax: kib,
  /** Calls that a client may cancel at once, and per second after that; past it a cancel storm ends the connection. */
  streamResetsBurst: 100,
  streamResetsPerSecond: 33,
  /** Answers are made to fit what clients take; this is for logs from before they were. */
  responseBytesMax: 64 * mib,
  /** What one call writes in one turn of the event loop: twice what a stream buffers before it says "full". */
  answerBytesPerTurn: 32 * kib,
  /** A key in a header; longer ones are wrong. */
  apiKeyBytesMax: 4 * kib,
  readyTimeoutMs: 5_000,
  /** Between two looks at readiness while somebody watches grpc.health.v1: there is nothing to be told by. */
  healthIntervalMs: 5_000,
  healthWatchersMax: 256,
  /** A predecessor that was killed may hold the port while the system takes its memory back. */
  listenRetryMs: 10_000,
  listenRetryIntervalMs: 250,
  listenBacklog: 1_024,
  /** Before the end of a drain, calls that still run are told to stop and can end with a status. */
  drainAbortMs: 1_000,
  /** Refusals of one kind are counted in between. */
  refusalLogIntervalMs: 1_000,
} as const;

/** Bounds of the store. */
export const storeLimits = {
  /** A page of a log: what a fold or a replay reads at once, between turns of the event loop. */
  readEventsMax: 256,
  /** A page ends behind the event that passes this; one event is at most a message. */
  readBytesMax: mib,
  /** A page of events that are put aside for an agent to be made: to hash and write one takes a few ms. */
  stagedEventsMax: 256,
  /** It ends behind the event that passes this. */
  stagedBytesMax: 256 * kib,
  /** After the last page, for an agent that nobody goes on with. */
  stagedKeptMs: 600_000,
  /** Agents counted between two turns of the event loop: by an index alone, half a millisecond. */
  tallySlice: 10_000,
  /** As many where their rows have to be looked at. */
  tallyRows: 500,
  /** Writes that wait for one commit; past it the store answers unavailable rather than grow. */
  queuedWritesMax: 20_000,
  /** Writes in one transaction: some 20 ms of the thread that writes. */
  writesPerCommitMax: 1_000,
  /** What a write waits for the disk; a hung one is found out so that a stop is still over in its 10 s. */
  writeWaitMsMax: 5_000,
  /** At the end, for what is queued and for the file to be closed. */
  closeWaitMsMax: 1_000,
  /** Between two looks whether a disk that failed takes writes again; doubled up to the second. */
  probeMsFirst: 250,
  probeMsMax: 2_000,
  /** Due agents on damaged pages that a claim passes over. */
  unreadableMax: 1_000,
  /** What a disk that was full has to have free before it is written to again: room for some hundred commits. */
  roomBytesMin: 512 * kib,
  /** Another program that looks at the file may hold it for a moment. */
  busyMsMax: 1_000,
  /** Pages written before a commit has to checkpoint by itself: 8,000 keep it off the commit path under load. */
  walPagesMax: 8_000,
  /** Quiet time in ms after which the log is checkpointed. */
  checkpointIdleMs: 500,
} as const;

/** Bounds of the store on Redis. */
export const redisLimits = {
  /** That REDIS_URL may name; of a large Cluster a few are enough. */
  addressesMax: 64,
  /** To connect, to log in and to see that the server has the store. */
  connectMs: 2_000,
  /** A server that keeps silent for so long is taken for gone, with all that it was asked. */
  replyMs: 3_000,
  /** Later than it was due by this, a timer tells of a halt of the engine's own; so long it then waits once more. */
  stallMs: 250,
  /** At the start; then the store opens without its server. */
  openMs: 3_000,
  reconnectMsFirst: 50,
  reconnectMsMax: 1_000,
  /** Agents claimed in vain before that a claim looks past for others. */
  triedAgentsMax: 256,
  /** Rows of a listing between two turns of the event loop: to read one takes some ten microseconds. */
  rowsAtOnce: 100,
  /** Commands on one connection that wait for their answer; past it the store answers unavailable rather than grow. */
  commandsMax: 20_000,
  /** Between two looks whether the store is still there and what time it is; and, where hints do not come, at what changed. */
  heartbeatMs: 1_000,
  /** Of an engine that is silent for so long the others assume that it does not come back, where that matters. */
  memberMs: 30_000,
  /** To say goodbye at the end. */
  goodbyeMs: 500,
  /** Of one command, from server to server of a Cluster that is being rebuilt. */
  redirectsMax: 5,
  /** What such a command takes at most: moving a slot takes longer only where there is much in it. */
  redirectedMs: 2_000,
  /** Between two tries of one that nobody can run just now. */
  tryAgainMs: 25,
  replicasMax: 16,
  replicasWaitMs: 1_000,
  /** Once they were not there in time: for so long a look holds up what is sent behind it. */
  replicasLookMs: 50,
  /** A server's clock that is further ahead of what an engine has measured was set. */
  clockJumpMs: 2_000,
  /** An answer that was so long on its way tells the time too badly. */
  timeErrorMsMax: 250,
  /** But clocks drift apart: after this long any answer is better than none. */
  timeKeptMs: 600_000,
  /** Agents whose newest hash is kept, so that an append need not ask for it: about 1 MiB. */
  headsMax: 4_096,
  /** Agents of a shard that are asked whether their lease runs still: more steps at once than 500 engines have room for. */
  heldLooksMax: 1_024,
  /** How often a creation that meets others with its request id begins again. */
  reservationsMax: 8,
  keyPrefixCharsMax: 128,
} as const;

/**
 * Bounds of a tool's module; past one the file is refused. They bound what decoding, compiling and the stack can cost;
 * what compilers of C, Rust, Go and AssemblyScript emit stays far below.
 */
export const moduleLimits = {
  bytesMax: 32 * mib,
  functionsMax: 100_000,
  typesMax: 100_000,
  /** The optimising compiler's time grows faster than a body's length. */
  bodyBytesMax: 2 * mib,
  /** Locals are zeroed at each call. */
  localsMax: 5_000,
  paramsMax: 255,
  nestingMax: 5_000,
  branchTableMax: 20_000,
  globalsMax: 100_000,
  /** WASI has 46 functions; compilers import each once. */
  importsMax: 1_000,
  exportsMax: 100_000,
  tagsMax: 10_000,
  segmentsMax: 100_000,
  tablesMax: 100,
  /** In all tables at the start; a tool's tables cannot grow. */
  tableEntriesMax: 100_000,
  /** Charges make code 1.2 times as long, dense branches more. */
  meteredBytesMax: 60 * mib,
  /** Description, schema and limits of a tool. */
  metadataBytesMax: 256 * kib,
  /** Longer straight-line bodies check their fuel at every charge, so that unwinding a deep stack cannot pass far below zero. */
  uncheckedInstructionsMax: 32_768,
  /** Static cost of a function that its callers pay for. */
  leafCostMax: 64,
} as const;

/** Bounds of the sandbox: its children, their queue and the frames between. */
export const sandboxLimits = {
  /** Calls at once in one engine; a child takes about 40 MiB and the tool's memory. */
  childrenMaxPerCore: 4,
  childrenMaxLeast: 8,
  /** More agents than this cannot be in a step at once in one process. */
  queuedCallsMax: 4096,
  /** A child holds what its tools' compiled code takes. */
  callsPerChildMax: 1_000,
  modulesPerChildMax: 4,
  /** A collection takes 0.6 ms and more, a small call 0.2; what is left behind is a child's idle memory. */
  uncollectedCallsMax: 8,
  uncollectedBytesMax: 4 * mib,
  /** Beyond the tool's own memory: the runtime, compiled code, garbage. */
  childMemoryBytesMax: 384 * mib,
  memoryCheckMs: 200,
  childIdleMs: 30_000,
  /** To decode, meter and compile the largest module that the bounds let through. */
  prepareMsMax: 20_000,
  /** To read and compile a prepared module, and to check the input. */
  loadMsMax: 10_000,
  /** The child ends a sleeping or printing tool itself; a computing one is killed this long after its time. */
  killGraceMs: 250,
  stderrBytesMax: 64 * kib,
  /** What of stderr goes into an error message. */
  stderrTailChars: 2_000,
  childLogCharsMax: 4_000,
  /** The largest metered module and what is noted of it; requests and answers stay below half of that. */
  frameBytesMax: 64 * mib,
  toolFilesMax: 2_000,
  toolNameCharsMax: 64,
  descriptionCharsMax: 16 * kib,
  /** A file that changes while it is read is read again this often. */
  readAttemptsMax: 3,
  cacheFilesMax: 512,
  /** Names of exports that are shown of a module. */
  shownExportsMax: 100,
  shownExportCharsMax: 200,
  /** A file is copied in many writes; one look at it when they are over is enough. */
  watchDelayMs: 100,
  /** Of the child that meters: the largest module's code takes about 40 times its size while it is decoded. */
  prepareMemoryBytesMax: 1536 * mib,
  /** Modules that are metered at once. */
  preparersMax: 2,
} as const;

/** Bounds of the engine's own work. */
export const engineLimits = {
  /** States kept folded; the rest are folded anew from their logs when next needed. */
  statesMax: 4_096,
  /** What all kept states together hold, in characters: an agent counts for its conversation and its attachments. */
  stateCharsMax: 256 * mib,
  /** Of one agent, before it takes more input: more than the forty largest images, which is what fits the default context. */
  conversationCharsMax: 256 * mib,
  /** Events between two snapshots, at least: to fold so many takes a fraction of a millisecond. */
  snapshotEventsMin: 128,
  /** What a snapshot may hold: one large message's worth. To write, check or read it takes 20 ms, in which others wait. */
  snapshotCharsMax: 4 * mib,
  /** What an event or a message takes in the store besides its texts, about. */
  eventCharsLeast: 128,
  /** How often a command that meets other writers of the same agent begins again. */
  conflictsMax: 64,
  /** Agents taken between two turns of the event loop: to begin a step takes a tenth of a millisecond and more. */
  claimsAtOnce: 16,
  /** Agents that are left to engines with more tools, at once; of more the first are looked at again. */
  leftAgentsMax: 256,
  /** For which nobody else is taken while a step that may end its engine begins. */
  suspectMs: 250,
  /** Where agents are due and none was given: they are another engine's by now, or cannot be read. */
  emptyClaimMs: 250,
  /** While the store cannot be reached, work is looked for again after this long. */
  storeRetryMs: 1_000,
  /** Text held back between a model's delta and its commit; a store that is slower stops the reading. */
  draftPendingCharsMax: 256 * kib,
} as const;

/** Bounds of an agent's file, and of its way between engines. */
export const fileLimits = {
  /**
   * The longest reply that an engine has ever taken (8 Mi characters) with each character escaped as six, and as much as
   * two largest requests for the tools that were offered with it. Attachments, tool outputs and edits stay far below.
   */
  lineBytesMax: 56 * mib,
  /** Of one message of the stream: what is sent in one turn of the loop, far below what a message may have. */
  pieceBytesMax: 256 * kib,
} as const;

/** Bounds of what /metrics costs. */
export const metricsLimits = {
  /** What a scrape waits for the store: Prometheus gives up after 10 s, and the rest is worth having without it. */
  storeMs: 2_000,
  /** Between two looks at how late the event loop is. */
  lagIntervalMs: 100,
  /** Five minutes of them; after that nobody scrapes. */
  lagSamplesMax: 3_000,
} as const;
