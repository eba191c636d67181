import { EventEmitter, once } from 'node:events';
import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/** A probe over HTTP as a container has it: https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes */
export interface HttpProbe {
  readonly httpGet: { readonly path: string; readonly port: string };
  readonly periodSeconds: number;
  readonly timeoutSeconds: number;
  readonly failureThreshold: number;
}

/** What of a container a kubelet's probes are about. */
export interface ProbedContainer {
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe: HttpProbe;
  readonly livenessProbe: HttpProbe;
  readonly readinessProbe: HttpProbe;
}

/** Which of a container's probes. */
export type ProbeName = 'startup' | 'liveness' | 'readiness';

/** One answer to a probe; without a status where none came in time. */
export interface ProbeAnswer {
  readonly probe: ProbeName;
  readonly status: number | undefined;
}

/** Where a container is reached, and how a test's kubelet differs from a cluster's. */
export interface KubeletOptions {
  /** The pod's address. It is what requests name as their host, too. */
  readonly host: string;
  /** The port in the place of the container's, where both share a machine. */
  readonly port?: number;
  /** Once it has started, periods are this many times shorter than they are written; timeouts and thresholds stay. */
  readonly hastened?: number;
}

/**
 * Asks a container's probes as a kubelet does: startup alone until it has succeeded once, then liveness and readiness beside each other, each in its own
 * period, with its own timeout, counting failures in a row. What a kubelet would do is noted and not done: the container is not restarted.
 */
export class Kubelet {
  /** Every answer so far, in order. */
  readonly answers: ProbeAnswer[] = [];
  /** Whether the startup probe has succeeded. */
  started = false;
  /** Whether the container would get requests. */
  ready = false;
  /** How often it would have been started anew: after as many failures in a row as a probe may have. */
  restarts = 0;
  private readonly changes = new EventEmitter();
  private readonly end = new AbortController();
  private readonly probing: Promise<void>;

  constructor(
    private readonly container: ProbedContainer,
    private readonly options: KubeletOptions,
  ) {
    this.probing = this.run();
  }

  /** Resolves as soon as the condition holds after an answer, or holds already. */
  async until(isSo: (kubelet: this) => boolean): Promise<void> {
    while (!isSo(this)) await once(this.changes, 'answer');
  }

  /** The answers to one probe since a number of answers ago. @param after - Length of {@link answers} then. */
  statusesOf(probe: ProbeName, after = 0): readonly (number | undefined)[] {
    return this.answers
      .slice(after)
      .filter((answer) => answer.probe === probe)
      .map(({ status }) => status);
  }

  /** No further probe. */
  async stop(): Promise<void> {
    this.end.abort();
    await this.probing;
  }

  private async run(): Promise<void> {
    const { startupProbe, livenessProbe, readinessProbe } = this.container;
    await this.repeat('startup', startupProbe, (isSo) => (this.started ||= isSo));
    await Promise.all([
      this.repeat('liveness', livenessProbe, () => false),
      this.repeat('readiness', readinessProbe, (isSo) => {
        this.ready = isSo;
        return false;
      }),
    ]);
  }

  /** @param concluded - Told of a success, and of as many failures in a row as it may have. @returns after it has answered `true`. */
  private async repeat(name: ProbeName, probe: HttpProbe, concluded: (isSo: boolean) => boolean): Promise<void> {
    let failures = 0;
    while (!this.end.signal.aborted) {
      const status = await this.ask(probe);
      const isSo = status !== undefined && status >= 200 && status < 400;
      failures = isSo ? 0 : failures + 1;
      const isFailed = failures >= probe.failureThreshold;
      if (isFailed && name !== 'readiness') {
        this.restarts += 1;
        failures = 0;
      }
      const isDone = (isSo || isFailed) && concluded(isSo);
      this.answers.push({ probe: name, status });
      this.changes.emit('answer');
      if (isDone) return;
      const periodMs = (probe.periodSeconds * 1000) / (name === 'startup' ? 1 : (this.options.hastened ?? 1));
      await delay(periodMs, undefined, { signal: this.end.signal }).catch(() => undefined);
    }
  }

  /** A connection of its own, no redirects followed. @returns The status, or nothing when none came in time. */
  private ask({ httpGet: { path, port: portName }, timeoutSeconds }: HttpProbe): Promise<number | undefined> {
    const port = this.options.port ?? this.container.ports.find(({ name }) => name === portName)?.containerPort;
    if (port === undefined) throw new Error(`The container has no port "${portName}".`);
    const { host } = this.options;
    const headers = { 'user-agent': 'kube-probe/1.32', accept: '*/*', connection: 'close' };
    const signal = AbortSignal.any([AbortSignal.timeout(timeoutSeconds * 1000), this.end.signal]);
    return new Promise((resolve) => {
      request({ host, port, path, headers, agent: false, signal }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .once('error', () => resolve(undefined))
        .end();
    });
  }
}
