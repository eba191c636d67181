import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';

import { AUDIT_START, type AuditedEvent, type AuditHead, auditLinkHash } from '@azaion/crypto';
import { ManualClock, utf8 } from '@azaion/kernel';
import { sql } from 'kysely';

import { AdminConfig } from '../config.js';
import { maintenanceCommands } from '../maintenance.js';
import { Database } from '../persistence/database.js';
import type { Account, Answer } from '../testing/started-api.js';
import { type StartedReplicas, startReplicas } from '../testing/started-replicas.js';
import { AuditChain, type ChainVerdict } from './audit-chain.js';
import { AuditLog } from './audit-log.js';

interface Line {
  sequence: number;
  id: number;
  at: string;
  event: string;
  actor: string;
  address: string;
  subject: string;
  details: Record<string, unknown>;
  hash: string;
}

/** Computes a chain the way an auditor would, from the description alone. */
function headOf(lines: readonly Line[]): AuditHead {
  let hash = '0'.repeat(64);
  for (const line of lines) {
    const details = Object.fromEntries(
      Object.keys(line.details)
        .sort()
        .map((name) => [name, line.details[name]]),
    );
    const { sequence, id, at, event, actor, address, subject } = line;
    const text = JSON.stringify(['azaion-audit-v1', hash, sequence, id, at, event, actor, address, subject, details]);
    hash = createHash('sha256').update(text).digest('hex');
  }
  return { sequence: lines.length, hash };
}

describe('the audit chain', () => {
  let replicas: StartedReplicas;
  let owner: Database;
  let operator: Account;
  beforeAll(async () => {
    replicas = await startReplicas();
    owner = new Database(replicas.owner);
    operator = await replicas.one.account('Operator');
  });
  afterAll(async () => {
    await owner.close();
    await replicas.stop();
  });

  const get = (path: string, token = replicas.one.administrator.token): Promise<Answer> =>
    replicas.one.call('GET', path, { token });
  const verify = async (query = ''): Promise<ChainVerdict> => (await get(`/audit/verify${query}`)).json as ChainVerdict;
  const record = async (count: number, subject = 'many'): Promise<void> => {
    const log = new AuditLog(new ManualClock(1_790_000_000_123));
    const actor = { id: 'somebody', address: '192.0.2.1' };
    await Promise.all(
      Array.from({ length: count }, (_, index) => {
        const { queries } = (index % 2 === 0 ? replicas.one : replicas.other).infrastructure.database;
        return log.record(queries, {
          event: 'spec.recorded',
          actor,
          subject,
          details: { b: index, a: 'ä"\\', aa: true },
        });
      }),
    );
  };
  const lines = async (query = ''): Promise<readonly Line[]> => {
    const { text } = await get(`/audit/export${query}`);
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line);
  };

  it('gives every event one place, however many replicas link at once', async () => {
    await record(60);
    const chains = [replicas.one, replicas.other].map(({ infrastructure }) => new AuditChain(infrastructure.database));
    await Promise.all([...chains, ...chains].map((chain) => chain.link()));
    await chains[0]!.settle();
    const { rows } = await sql<{ events: number; links: number; last: number }>`select
      (select count(*) from audit_events) as events, count(*) as links, max(sequence) as last from audit_chain`.execute(
      owner.queries,
    );
    expect(rows[0]?.events).toBeGreaterThan(60);
    expect(rows[0]).toEqual({ events: rows[0]?.events, links: rows[0]?.events, last: rows[0]?.events });
    expect(await verify()).toMatchObject({ intact: true, verified: rows[0]?.links });
  });

  it('has an event that was numbered early and came late, and none of a transaction that was rolled back', async () => {
    const log = new AuditLog(new ManualClock(1_790_000_000_000));
    const late = { event: 'spec.late', actor: { id: 'x', address: '' }, subject: 'late' };
    const { database } = replicas.one.infrastructure;
    const chain = new AuditChain(database);
    await owner.transaction(async (on) => {
      await log.record(on, late);
      await record(3, 'meanwhile');
      await new AuditChain(replicas.other.infrastructure.database).settle();
    });
    await database
      .transaction(async (on) => {
        await log.record(on, { ...late, subject: 'rolled back' });
        throw new Error('rolled back');
      })
      .catch(() => undefined);
    await chain.settle();
    const all = await lines();
    const at = (subject: string): number => all.findLastIndex((line) => line.subject === subject);
    expect(at('late')).toBeGreaterThan(at('meanwhile'));
    expect(all[at('late')]!.id).toBeLessThan(all[at('meanwhile')]!.id);
    expect(at('rolled back')).toBe(-1);
    expect((await verify()).intact).toBe(true);
  });

  it('can be computed anew from its export, and continued from where one left off', async () => {
    const all = await lines();
    expect(all.map(({ sequence }) => sequence)).toEqual(all.map((_, index) => index + 1));
    expect(headOf(all).hash).toBe(all.at(-1)?.hash);
    const known = all.length - 2;
    const newer = await lines(`?after=${String(known)}`);
    expect(newer.slice(0, 2)).toEqual(all.slice(known));
    expect(newer.at(-1)?.event).toBe('audit.exported'); // reading it is an event too
  });

  it('is written in the transaction of what it records: of a change that failed there is nothing', async () => {
    const { token } = replicas.one.administrator;
    const create = async (email: string): Promise<number> =>
      (
        await replicas.one.call('POST', '/users', {
          token,
          body: { email, password: 'a long password', role: 'Operator' },
        })
      ).status;
    const recorded = async (): Promise<number> =>
      (await owner.queries.selectFrom('audit_events').select('id').where('event', '=', 'user.created').execute())
        .length;
    const before = await recorded();
    // Fails at the very end, when everything was written.
    await sql`create function spec_refuse() returns trigger language plpgsql as $$ begin raise 'refused'; end $$`.execute(
      owner.queries,
    );
    await sql`create constraint trigger spec_refuses after insert on users deferrable initially deferred
      for each row execute function spec_refuse()`.execute(owner.queries);
    try {
      expect(await create('refused@example.com')).toBe(500);
    } finally {
      await sql`drop trigger spec_refuses on users`.execute(owner.queries);
    }
    expect(await recorded()).toBe(before);
    expect(await create('accepted@example.com')).toBe(201);
    expect(await recorded()).toBe(before + 1);
  });

  describe('cannot be changed', () => {
    const CHANGES = [
      'update audit_events set subject = subject',
      'delete from audit_events',
      'truncate audit_events cascade',
      'update audit_chain set hash = hash',
      'delete from audit_chain',
      'truncate audit_chain',
      'alter table audit_events disable trigger all',
      'drop table audit_chain',
    ];
    const refusal = (on: Database, ...statements: readonly string[]): Promise<unknown> =>
      on
        .transaction(async (queries) => {
          for (const statement of statements) await sql.raw(statement).execute(queries);
          return undefined;
        })
        .catch((error: unknown) => (error as { code: string }).code);

    it.each(CHANGES)('by the service: %s', async (statement) => {
      expect(await refusal(replicas.one.infrastructure.database, statement)).toBe('42501');
    });

    it.each(CHANGES.slice(0, 6))('by the owner of the tables in passing: %s', async (statement) => {
      expect(await refusal(owner, statement)).toBe('42501');
    });

    it.each([
      ['delete from audit_chain'],
      ['delete from audit_events'],
      ["insert into audit_checkpoints values (1, '', now())"],
      ['delete from audit_checkpoints'],
    ])('by the service that says it trims the log: %s', async (statement) => {
      const { database } = replicas.one.infrastructure;
      expect(await refusal(database, "set local azaion.audit_trim to 'on'", statement)).toBe('42501');
    });

    it('nor by a login of the service that gives up its role, when the owner is another', async () => {
      await sql.raw(`create role spec_service login password 'spec' in role azaion_admin_api`).execute(owner.queries);
      const login = new Database({ ...replicas.owner, user: 'spec_service', password: 'spec' });
      try {
        await record(1);
        for (const statement of CHANGES) expect(await refusal(login, 'set role none', statement)).toBe('42501');
        expect(await refusal(login, "insert into rate_limits values ('spec', 1, now())")).toBeUndefined();
      } finally {
        await login.close();
      }
    });
  });

  describe('shows what somebody changed who could', () => {
    /** As a superuser who switches triggers and foreign keys off. */
    const tamper = (statement: string): Promise<void> =>
      owner.transaction(async (on) => {
        await sql`set local session_replication_role = replica`.execute(on);
        await sql.raw(statement).execute(on);
      });
    let third: Line;
    let last: Line;
    beforeAll(async () => {
      await record(5);
      const all = await lines();
      [third, last] = [all[2]!, all.at(-1)!];
    });
    beforeEach(async () => {
      expect((await verify()).intact).toBe(true); // the test before put everything back
    });

    it.each(['at', 'event', 'actor', 'address', 'subject', 'details'])('a changed %s', async (column) => {
      const changed =
        column === 'at'
          ? `at + interval '1 second'`
          : column === 'details'
            ? `details || '{"x":1}'`
            : `${column} || 'x'`;
      const back =
        column === 'at' ? `at - interval '1 second'` : column === 'details' ? `details - 'x'` : `left(${column}, -1)`;
      await tamper(`update audit_events set ${column} = ${changed} where id = ${third.id}`);
      expect(await verify()).toMatchObject({
        intact: false,
        verified: 2,
        fault: { kind: 'hash-mismatch', sequence: 3 },
      });
      await tamper(`update audit_events set ${column} = ${back} where id = ${third.id}`);
    });

    it('a deleted event', async () => {
      await tamper(`create table spec_gone as select * from audit_events where id = ${third.id}`);
      await tamper(`delete from audit_events where id = ${third.id}`);
      expect((await verify()).fault).toEqual({ kind: 'event-missing', sequence: 3 });
      await tamper(`insert into audit_events overriding system value select * from spec_gone`);
    });

    it('a deleted event with its link', async () => {
      await tamper(`create table spec_link as select * from audit_chain where sequence = 3`);
      await tamper(`delete from audit_chain where sequence = 3`);
      expect((await verify()).fault).toEqual({ kind: 'sequence-gap', sequence: 3 });
      await tamper(`insert into audit_chain select * from spec_link`);
    });

    it('events that changed places', async () => {
      const swap = `update audit_chain set event_id = case sequence when 3 then (select event_id from audit_chain where sequence = 4)
        else (select event_id from audit_chain where sequence = 3) end where sequence in (3, 4)`;
      const deferred = `alter table audit_chain drop constraint audit_chain_event_id_key`;
      await tamper(deferred);
      await tamper(swap);
      expect((await verify()).fault).toEqual({ kind: 'hash-mismatch', sequence: 3 });
      await tamper(swap);
      await tamper(`alter table audit_chain add constraint audit_chain_event_id_key unique (event_id)`);
    });

    it('an event that was slipped in past the service', async () => {
      await tamper(`insert into audit_events (at, event, actor, address, subject, details)
        values (now(), 'spec.slipped-in', 'x', '', 'x', '{}')`);
      expect((await verify()).fault?.kind).toBe('event-unlinked');
      await tamper(`delete from audit_events where event = 'spec.slipped-in'`);
    });

    it('an event that was removed before it was linked', async () => {
      await record(1, 'pending');
      await tamper(`create table spec_pending as select * from audit_events where subject = 'pending'`);
      await tamper(`delete from audit_events where subject = 'pending'`);
      expect((await verify()).fault?.kind).toBe('event-unlinked');
      await tamper(`insert into audit_events overriding system value select * from spec_pending`);
    });

    it('a log that was cut off, to who kept a head elsewhere', async () => {
      const query = `?sequence=${String(last.sequence)}&hash=${last.hash}`;
      expect((await verify(query)).intact).toBe(true);
      await tamper(`create table spec_tail as select * from audit_chain where sequence >= ${last.sequence}`);
      await tamper(
        `create table spec_tail_events as select * from audit_events where id in (select event_id from spec_tail)`,
      );
      await tamper(`delete from audit_events where id in (select event_id from spec_tail)`);
      await tamper(`delete from audit_chain where sequence >= ${last.sequence}`);
      expect((await verify()).intact).toBe(true); // the chain alone can't know
      expect((await verify(query)).fault?.kind).toBe('head-mismatch');
      await tamper(`insert into audit_events overriding system value select * from spec_tail_events`);
      await tamper(`insert into audit_chain select * from spec_tail`);
    });

    it('in pieces as it does in one: each goes on where the one before ended', async () => {
      const inPieces = async (limit: number, from = ''): Promise<ChainVerdict & { readonly calls: number }> => {
        let total = 0;
        let query = from;
        for (let calls = 1; ; calls++) {
          const verdict = await verify(`?limit=${String(limit)}${query}`);
          total += verdict.verified;
          if (!verdict.intact || verdict.complete) return { ...verdict, verified: total, calls };
          query = `&after=${String(verdict.head.sequence)}&afterHash=${verdict.head.hash}`;
        }
      };
      const whole = await verify();
      expect(whole.complete).toBe(true);
      for (const limit of [1, 7, whole.verified - 1, whole.verified, whole.verified + 1]) {
        const { calls, ...verdict } = await inPieces(limit);
        expect(verdict).toEqual(whole);
        expect(calls).toBe(Math.floor(whole.verified / limit) + 1);
      }
      // Strangers are found wherever their ids lie.
      for (const place of ['min(id) - 1', 'max(id) + 1000']) {
        await tamper(`insert into audit_events (id, at, event, actor, address, subject, details) overriding system value
          select ${place}, now(), 'spec.slipped-in', 'x', '', 'x', '{}' from audit_events`);
        for (const limit of [1, 1000]) expect((await inPieces(limit)).fault?.kind).toBe('event-unlinked');
        await tamper(`delete from audit_events where event = 'spec.slipped-in'`);
      }
      // From a head that was kept elsewhere: a change behind it shows, one before it does not.
      const start = `&after=${String(third.sequence)}&afterHash=${third.hash}`;
      expect((await inPieces(1000, start)).verified).toBe(whole.verified - third.sequence);
      await tamper(`update audit_events set subject = subject || 'x' where id = ${third.id}`);
      expect((await inPieces(7, start)).intact).toBe(true);
      expect((await inPieces(7)).fault).toEqual({ kind: 'hash-mismatch', sequence: third.sequence });
      await tamper(`update audit_events set subject = left(subject, -1) where id = ${third.id}`);
      await tamper(`update audit_events set subject = subject || 'x' where id = ${last.id}`);
      expect((await inPieces(7, start)).fault).toEqual({ kind: 'hash-mismatch', sequence: last.sequence });
      await tamper(`update audit_events set subject = left(subject, -1) where id = ${last.id}`);
      const forged = `&after=${String(third.sequence)}&afterHash=${'ab'.repeat(32)}`;
      expect((await inPieces(7, forged)).fault).toEqual({ kind: 'head-mismatch', sequence: third.sequence });
    });

    it('a log that was written anew, to who kept a head elsewhere', async () => {
      const other = 'ab'.repeat(32);
      expect((await verify(`?sequence=3&hash=${other}`)).fault).toEqual({ kind: 'head-mismatch', sequence: 3 });
    });
  });

  describe('over HTTP', () => {
    it('names its head', async () => {
      const head = (await get('/audit/head')).json as AuditHead;
      expect(head).toEqual((await verify()).head);
      expect((await verify(`?sequence=${String(head.sequence)}&hash=${head.hash}`)).intact).toBe(true);
    });

    it('lists events newest first, page by page, each once', async () => {
      await record(7, 'paged');
      const seen: Line[] = [];
      for (let cursor: string | undefined = ''; cursor !== undefined;) {
        const json = (await get(`/audit?subject=paged&limit=3${cursor}`)).json as { events: Line[]; cursor?: string };
        seen.push(...json.events);
        cursor = json.cursor === undefined ? undefined : `&cursor=${json.cursor}`;
      }
      expect(seen).toHaveLength(7);
      expect(seen.map(({ id }) => id)).toEqual([...new Set(seen.map(({ id }) => id))].sort((a, b) => b - a));
    });

    it.each([
      ['event=spec.recorded&actor=somebody&address=192.0.2.1', true],
      ['event=spec.recorded&actor=nobody', false],
      ['event=spec.recorded&address=192.0.2.2', false],
      ['event=spec.recorded&from=2026-09-21T14:13:20.123Z&to=2026-09-21T14:13:20.124Z', true],
      ['event=spec.recorded&from=2026-09-21T14:13:20.124Z', false],
      ['event=spec.recorded&to=2026-09-21T14:13:20.123Z', false],
      ['subject=%25', false],
    ])('filters by %s', async (query, found) => {
      const { json } = (await get(`/audit?${query}`)) as { json: { events: Line[] } };
      expect(json.events.length > 0).toBe(found);
    });

    it.each([
      ['/audit?limit=0'],
      ['/audit?limit=201'],
      ['/audit?cursor=x'],
      ['/audit?from=yesterday'],
      ['/audit?color=red'],
      ['/audit/verify?sequence=1'],
      [`/audit/verify?hash=${'0'.repeat(64)}`],
      ['/audit/verify?sequence=1&hash=x'],
      ['/audit/verify?after=1'],
      [`/audit/verify?afterHash=${'0'.repeat(64)}`],
      ['/audit/verify?limit=0'],
      ['/audit/verify?limit=200001'],
      ['/audit/export?after=-1'],
    ])('refuses GET %s', async (path) => {
      expect((await get(path)).status).toBe(400);
    });

    it.each(['/audit', '/audit/head', '/audit/verify', '/audit/export'])(
      'GET %s is for ApiAdmin alone',
      async (path) => {
        expect((await get(path, operator.token)).status).toBe(403);
        expect((await get(path, (await replicas.one.account('Admin')).token)).status).toBe(403);
      },
    );
  });

  describe('trimmed at the end of an export', () => {
    const exported = async (query = ''): Promise<string> => (await get(`/audit/export${query}`)).text;
    const textOf = (all: readonly Line[]): string => all.map((line) => `${JSON.stringify(line)}\n`).join('');
    /** The operator's command. */
    const trim = async (text: string): Promise<{ readonly status: number; readonly said: string }> => {
      let said = '';
      const command = maintenanceCommands({ write: (line: string) => (said += line) }, () =>
        Readable.from([utf8(text)]),
      );
      const trimAudit = command.find(({ words }) => words === 'trim-audit');
      return { status: (await trimAudit?.run(replicas.one.app.get(AdminConfig))) ?? -1, said };
    };
    const links = async (): Promise<number> =>
      (await owner.queries.selectFrom('audit_chain').select('sequence').execute()).length;

    it('is left as it is when the export is not whole, or of another log', async () => {
      const all = await lines();
      const before = await links();
      const forged = all.map((line) => ({ ...line, actor: 'nobody' }));
      for (const [index, line] of forged.entries())
        line.hash = auditLinkHash(forged[index - 1]?.hash ?? AUDIT_START.hash, line.sequence, line as AuditedEvent);
      for (const text of [
        '',
        textOf(all.slice(1)),
        textOf(all.toSpliced(2, 1)),
        textOf(all).slice(0, -9),
        textOf(forged),
      ]) {
        const { status, said } = await trim(text);
        expect([status, said]).toEqual([1, expect.stringMatching(/^Not done: The (?:export|log) /)]);
      }
      expect(await links()).toBeGreaterThanOrEqual(before);
      expect((await verify()).intact).toBe(true);
    });

    it('is left as it is when somebody has changed it past the service: what shows that stays', async () => {
      const text = await exported();
      const change = (to: string) =>
        owner.transaction(async (on) => {
          await sql`set local session_replication_role = replica`.execute(on);
          await sql
            .raw(`update audit_events set subject = ${to} where id = (select min(id) from audit_events)`)
            .execute(on);
        });
      await change(`subject || 'x'`);
      expect((await trim(text)).said).toContain('hash-mismatch');
      await change('left(subject, -1)');
      expect((await verify()).intact).toBe(true);
    });

    it('goes on behind the cut, is verified from there, and is one chain with what was exported', async () => {
      const kept = (await get('/audit/head')).json as AuditHead;
      await record(5);
      const first = await exported();
      const end = JSON.parse(first.trimEnd().split('\n').at(-1)!) as Line;
      expect((await trim(first)).status).toBe(0);
      const rest = await verify();
      expect(rest).toMatchObject({ intact: true, complete: true });
      expect(rest.verified).toBe(rest.head.sequence - end.sequence);
      expect(await links()).toBe(rest.verified);
      const at = (head: AuditHead): string => `sequence=${String(head.sequence)}&hash=${head.hash}`;
      expect((await verify(`?${at(end)}`)).intact).toBe(true);
      expect((await verify(`?${at({ ...end, hash: kept.hash })}`)).fault?.kind).toBe('head-mismatch');
      // Nobody can tell from what is left whether an earlier head was held: the export can.
      expect((await verify(`?${at(kept)}`)).fault).toEqual({ kind: 'head-trimmed', sequence: end.sequence });

      const second = await exported();
      expect(second).toBe(
        await exported(`?after=${String(end.sequence)}`).then((text) => text.slice(0, second.length)),
      );
      const events = (first + second)
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Line);
      expect(headOf(events).hash).toBe(events.at(-1)?.hash);
      expect(events[end.sequence]).toMatchObject({
        event: 'audit.trimmed',
        actor: 'system',
        details: { through: end.sequence, hash: end.hash, events: end.sequence },
      });
      expect((await trim(first)).status).toBe(1);
      expect((await trim(first + second)).status).toBe(0); // holds the cut before
      expect((await trim(await exported())).status).toBe(0);
      expect((await verify()).intact).toBe(true);
    });

    it('shows what somebody changes who could, as before', async () => {
      await record(3);
      const { head } = await verify();
      await owner.transaction(async (on) => {
        await sql`set local session_replication_role = replica`.execute(on);
        await sql`delete from audit_chain where sequence = ${head.sequence - 1}`.execute(on);
      });
      expect((await verify()).fault).toEqual({ kind: 'sequence-gap', sequence: head.sequence - 1 });
    });
  });
});
