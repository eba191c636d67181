/** The compression function of SHA-256 for four messages side by side. */
export interface Sha256Kernel {
  readonly memory: { readonly buffer: ArrayBuffer };
  /** Address of the chaining values: word `w` of lane `l` is the 32-bit integer `4·w + l` there. */
  readonly stateAt: number;
  /** First address that is free for messages. */
  readonly freeAt: number;
  /**
   * Takes blocks of 64 bytes into the chaining values.
   *
   * @param a - Address of the first block of lane 0; `b`, `c`, `d` of lanes 1 to 3.
   * @param blocks - How many follow each other at each address, 1 or more.
   */
  readonly blocks: (a: number, b: number, c: number, d: number, blocks: number) => void;
}

/** What this project uses of the WebAssembly JavaScript interface, which the type library it compiles against leaves out. */
interface WasmApi {
  readonly Memory: new (limits: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: Readonly<Record<string, Readonly<Record<string, object>>>>,
  ) => { readonly exports: Readonly<Record<string, unknown>> };
}

const PAGE_BYTES = 64 * 1024;
const LANES = 4;
const ROUNDS = 64;
const VECTOR_BYTES = 16;
const STATE_AT = 0;
const ROUND_CONSTANTS_AT = 1024;
const FREE_AT = ROUND_CONSTANTS_AT + ROUNDS * VECTOR_BYTES;

/** FIPS 180-4 §4.2.2: the first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const ROUND_CONSTANTS = firstPrimes(ROUNDS).map(cubeRootFraction);

/**
 * Makes a kernel of its own. It is written in WebAssembly, whose 128-bit vectors hold one 32-bit word of each of four messages.
 *
 * @param roomBytes - Memory for messages.
 * @throws WebAssembly.CompileError where the machine has no such vectors.
 */
export function startSha256Kernel(roomBytes: number): Sha256Kernel {
  const { Memory, Module, Instance } = (globalThis as unknown as { readonly WebAssembly: WasmApi }).WebAssembly;
  const memory = new Memory({ initial: Math.ceil((FREE_AT + roomBytes) / PAGE_BYTES) });
  const constants = new Uint32Array(memory.buffer, ROUND_CONSTANTS_AT, ROUNDS * LANES);
  for (const [round, constant] of ROUND_CONSTANTS.entries())
    constants.fill(constant, round * LANES, (round + 1) * LANES);
  const { exports } = new Instance(new Module(moduleBytes()), { env: { memory } });
  return { memory, stateAt: STATE_AT, freeAt: FREE_AT, blocks: exports['blocks'] as Sha256Kernel['blocks'] };
}

function firstPrimes(count: number): readonly number[] {
  const primes: number[] = [];
  for (let candidate = 2; primes.length < count; candidate++)
    if (primes.every((prime) => candidate % prime !== 0)) primes.push(candidate);
  return primes;
}

/** Exactly, with integers: the largest `x` with `x³ ≤ n · 2^96`, without its whole part. */
function cubeRootFraction(n: number): number {
  const cube = BigInt(n) << 96n;
  let [low, high] = [0n, 1n << 36n];
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** 3n <= cube) low = middle;
    else high = middle;
  }
  return Number(low & 0xffff_ffffn);
}

// The binary format: WebAssembly Core Specification 2.0, chapter 5.
type Code = readonly number[];

const I32 = 0x7f;
const V128 = 0x7b;
const EMPTY_BLOCK = 0x40;
const LOOP = 0x03;
const END = 0x0b;
const BRANCH_IF = 0x0d;
const SUBTRACT_I32 = 0x6b;
const ADD_I32 = 0x6a;

const load = vectorOp(0);
const store = vectorOp(11);
const shuffle = vectorOp(13);
const and = vectorOp(78);
const or = vectorOp(80);
const xor = vectorOp(81);
const shiftLeft = vectorOp(171);
const shiftRight = vectorOp(173);
const add = vectorOp(174);

// Locals: the parameters, then vectors.
const BLOCK_AT = [0, 1, 2, 3];
const BLOCKS_LEFT = 4;
const STATE = 5;
const SCHEDULE = STATE + 8;
const FIRST = SCHEDULE + 16;
const SECOND = FIRST + 1;
const RAW = SECOND + 1;
const VECTORS = RAW + LANES - STATE;

function moduleBytes(): Uint8Array {
  const parameters = [...BLOCK_AT, BLOCKS_LEFT].map(() => I32);
  const name = (text: string): Code => [text.length, ...Buffer.from(text, 'latin1')];
  const body = [1, ...unsigned(VECTORS), V128, ...functionBody()];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, ...vector(parameters), 0]),
    ...section(2, [1, ...name('env'), ...name('memory'), 2, 0, 1]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...name('blocks'), 0, 0]),
    ...section(10, [1, ...vector(body)]),
  ]);
}

function functionBody(): Code {
  const code: number[] = [];
  const emit = (...parts: readonly Code[]): void => {
    for (const part of parts) code.push(...part);
  };
  const words = Array.from({ length: 8 }, (_, word) => STATE + word);
  for (const [word, local] of words.entries())
    emit(constant(0), load, memoryAt(STATE_AT + VECTOR_BYTES * word), set(local));
  emit([LOOP, EMPTY_BLOCK]);
  for (let quarter = 0; quarter < 4; quarter++) emitWords(emit, quarter);
  emitRounds(emit, words);
  for (const [word, local] of words.entries()) {
    const place = memoryAt(STATE_AT + VECTOR_BYTES * word);
    emit(constant(0), load, place, get(local), add, set(local));
    emit(constant(0), get(local), store, place);
  }
  for (const at of BLOCK_AT) emit(get(at), constant(64), [ADD_I32], set(at));
  emit(get(BLOCKS_LEFT), constant(1), [SUBTRACT_I32], tee(BLOCKS_LEFT), [BRANCH_IF, 0]);
  emit([END, END]);
  return code;
}

/** Four words of each block, which are big-endian, turned into four vectors of one word of each lane. */
function emitWords(emit: (...parts: readonly Code[]) => void, quarter: number): void {
  const swapped = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12];
  const picked = (...indexes: readonly number[]): Code =>
    indexes.flatMap((index) => [0, 1, 2, 3].map((b) => 4 * index + b));
  for (const lane of BLOCK_AT) {
    const part = [...get(lane), ...load, ...memoryAt(VECTOR_BYTES * quarter)];
    emit(part, part, shuffle, swapped, set(RAW + lane));
  }
  for (const [half, pairs] of [picked(0, 4, 1, 5), picked(2, 6, 3, 7)].entries()) {
    emit(get(RAW), get(RAW + 1), shuffle, pairs, set(FIRST));
    emit(get(RAW + 2), get(RAW + 3), shuffle, pairs, set(SECOND));
    const word = SCHEDULE + 4 * quarter + 2 * half;
    emit(get(FIRST), get(SECOND), shuffle, picked(0, 1, 4, 5), set(word));
    emit(get(FIRST), get(SECOND), shuffle, picked(2, 3, 6, 7), set(word + 1));
  }
}

/** FIPS 180-4 §6.2.2, with the schedule in a ring of sixteen words and the working variables renamed instead of moved. */
function emitRounds(emit: (...parts: readonly Code[]) => void, words: readonly number[]): void {
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = words;
  for (let round = 0; round < ROUNDS; round++) {
    const scheduled = (back: number): number => SCHEDULE + ((round - back) & 15);
    const word = scheduled(16);
    if (round >= 16) {
      const [fifteenth, second] = [scheduled(15), scheduled(2)];
      emit(get(word), get(scheduled(7)), add);
      emit(rotated(fifteenth, 7), rotated(fifteenth, 18), xor, shifted(fifteenth, 3), xor, add);
      emit(rotated(second, 17), rotated(second, 19), xor, shifted(second, 10), xor, add, set(word));
    }
    const roundConstant = [...constant(0), ...load, ...memoryAt(ROUND_CONSTANTS_AT + VECTOR_BYTES * round)];
    emit(get(h), get(word), roundConstant, add, add);
    emit(rotated(e, 6), rotated(e, 11), xor, rotated(e, 25), xor, add);
    emit(get(f), get(g), xor, get(e), and, get(g), xor, add, set(FIRST)); // Ch
    emit(get(d), get(FIRST), add, set(d));
    emit(get(FIRST), rotated(a, 2), rotated(a, 13), xor, rotated(a, 22), xor, add);
    emit(get(a), get(b), xor, get(b), get(c), xor, and, get(b), xor, add, set(h)); // Maj
    [a, b, c, d, e, f, g, h] = [h, a, b, c, d, e, f, g];
  }
}

function rotated(local: number, bits: number): Code {
  return [...shifted(local, bits), ...get(local), ...constant(32 - bits), ...shiftLeft, ...or];
}

function shifted(local: number, bits: number): Code {
  return [...get(local), ...constant(bits), ...shiftRight];
}

function get(local: number): Code {
  return [0x20, ...unsigned(local)];
}

function set(local: number): Code {
  return [0x21, ...unsigned(local)];
}

function tee(local: number): Code {
  return [0x22, ...unsigned(local)];
}

function constant(value: number): Code {
  return [0x41, ...signed(value)];
}

function memoryAt(offset: number): Code {
  return [0, ...unsigned(offset)];
}

function vectorOp(number: number): Code {
  return [0xfd, ...unsigned(number)];
}

function section(id: number, content: Code): Code {
  return [id, ...vector(content)];
}

function vector(content: Code): Code {
  return [...unsigned(content.length), ...content];
}

/** LEB128. */
function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

/** LEB128 of a number that is not negative: its sixth bit would be the sign. */
function signed(value: number): Code {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signed(value >>> 7)];
}
