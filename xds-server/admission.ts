/** A stream that asks to be let in. */
export interface Applicant {
  admit(): void;
  /** Turned away: the client comes back later, or goes elsewhere. */
  refuse(reason: string): void;
}

export interface AdmissionSettings {
  /** Streams that are open or wait to be let in. */
  readonly maxStreams: number;
  /** How long a new stream waits to be let in at most, ms, before it is turned away: another replica may have time. */
  readonly admissionWaitMs: number;
}

/** Lets streams in: in the order in which they came, and no faster than they are served. */
export interface Admission {
  /** Returns the function to call when the stream is over, let in or not. */
  apply(applicant: Applicant): () => void;
  /** Streams that wait to be let in. */
  waiting(): number;
  close(): void;
}

export interface AdmissionOptions {
  readonly settings: AdmissionSettings;
  /** Monotonic, ms. */
  readonly elapsed: () => number;
  /** Calls back after what waits for this process by now (requests, acknowledgements, pushes) has had its turn. */
  readonly yieldTurn: (callback: () => void) => void;
}

/** Streams let in during one turn, at most: what one turn costs with them is seen before there are more. */
const MOST_A_TURN = 32;
/** A turn that takes longer, ms, lets in half as many in the next one; a shorter one lets in one more. */
const LONG_TURN_MS = 50;

/**
 * A new stream costs a whole configuration, and after a restart thousands come at once. Each turn of the event loop
 * lets in a few, as many as the last turns had time for; so those that are in are served meanwhile, and what waits has
 * asked for nothing yet.
 */
export function createAdmission({ settings, elapsed, yieldTurn }: AdmissionOptions): Admission {
  const waiting = new Map<Applicant, { readonly since: number; readonly leave: () => void }>();
  let open = 0;
  let perTurn = MOST_A_TURN;
  let left = perTurn;
  let planned = false;
  let closed = false;

  function planTurn(): void {
    if (planned || closed) return;
    planned = true;
    const began = elapsed();
    yieldTurn(() => {
      planned = false;
      const now = elapsed();
      perTurn = now - began > LONG_TURN_MS ? Math.max(1, Math.floor(perTurn / 2)) : Math.min(MOST_A_TURN, perTurn + 1);
      left = perTurn;
      letIn(now);
    });
  }

  function letIn(now: number): void {
    for (const [applicant, { since, leave }] of waiting) {
      const late = now - since > settings.admissionWaitMs;
      if (left === 0 && !late) break;
      waiting.delete(applicant);
      if (late) {
        leave();
        applicant.refuse("the xDS server has too many new streams");
        continue;
      }
      left -= 1;
      applicant.admit();
    }
    if (waiting.size > 0 || left < perTurn) planTurn();
  }

  return {
    apply(applicant) {
      if (open >= settings.maxStreams || closed) {
        applicant.refuse(closed ? "the xDS server is stopping" : "too many xDS streams");
        return () => {};
      }
      open += 1;
      let over = false;
      const leave = () => {
        if (over) return;
        over = true;
        open -= 1;
        waiting.delete(applicant);
      };
      const now = elapsed();
      waiting.set(applicant, { since: now, leave });
      letIn(now);
      return leave;
    },
    waiting: () => waiting.size,
    close() {
      closed = true;
      for (const applicant of [...waiting.keys()]) {
        waiting.delete(applicant);
        applicant.refuse("the xDS server is stopping");
      }
    },
  };
}
