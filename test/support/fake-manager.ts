import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a fake workload manager keeps of its one node. */
export interface FakeNode {
  state: string;
  reason: string;
}

/**
 * Programs that stand in for a workload manager of one node `n1`, with what they keep in files of `folder`. They
 * are real processes: what is read is what a driver reads.
 */
export function fakeManager(folder: string) {
  const file = (name: string) => join(folder, name);
  const script = (name: string, body: string): string => {
    writeFileSync(file(name), `#!/bin/sh\nD='${folder}'\n${body}`, { mode: 0o755 });
    return file(name);
  };
  const set = ({ state, reason }: FakeNode) => {
    writeFileSync(file('state'), state);
    writeFileSync(file('reason'), reason);
  };
  set({ state: 'IDLE', reason: '' });
  writeFileSync(file('log'), '');
  const scontrol = script(
    'scontrol',
    `
echo "$*" >> "$D/log"
[ -e "$D/refuse" ] && { cat "$D/refuse" >&2; exit 1; }
state=$(cat "$D/state"); reason=$(cat "$D/reason")
case "$*" in
  "-o show node n1") printf 'NodeName=n1 Arch=x86_64 State=%s Weight=1' "$state"
    [ -n "$reason" ] && printf ' Reason=%s [root@2026-11-21T21:06:08]' "$reason"; echo; exit 0;;
  "update nodename=n1 state=drain reason="*)
    case "$state" in *+DRAIN) ;; *) printf '%s+DRAIN' "$state" > "$D/state";; esac
    printf '%s' "\${4#reason=}" > "$D/reason"; exit 0;;
  "update nodename=n1 state=resume")
    case "$state" in *+DRAIN) printf '%s' "\${state%+DRAIN}" > "$D/state"; : > "$D/reason"; exit 0;; esac
    echo 'slurm_update error: Invalid node state specified' >&2; exit 1;;
esac
echo 'slurm_update error: Invalid node name specified' >&2; exit 1
`,
  );
  const hook = script(
    'hook',
    `
verb=$1; input=$(cat); echo "$verb $input" >> "$D/log"
[ -e "$D/refuse" ] && { cat "$D/refuse"; exit "$(cat "$D/code")"; }
case "$verb" in
  state) s=in-service; i=
    case "$(cat "$D/state")" in IDLE+DRAIN) s=drained;; *+DRAIN) s=draining;; DOWN) s=down;; esac
    printf '{"ok":true,"state":"%s","id":"%s"}' "$s" "$(cat "$D/reason")";;
  drain) printf '%s+DRAIN' "$(cat "$D/state")" > "$D/state"
    printf '%s' "$input" | sed 's/.*"id":"\\([^"]*\\)".*/\\1/' | tr -d '\\n' > "$D/reason"; echo '{"ok":true}';;
  resume) s=$(cat "$D/state"); printf '%s' "\${s%+DRAIN}" > "$D/state"; : > "$D/reason"; echo '{"ok":true}';;
  cap) printf '%s' "$input" > "$D/capped"; echo '{"ok":true}';;
esac
`,
  );
  return {
    scontrol,
    hook,
    script,
    set,
    node: (): FakeNode => ({
      state: readFileSync(file('state'), 'utf8'),
      reason: readFileSync(file('reason'), 'utf8'),
    }),
    /** What was called since the last time this was asked. */
    calls: (): string[] => {
      const lines = readFileSync(file('log'), 'utf8').split('\n').filter(Boolean);
      writeFileSync(file('log'), '');
      return lines;
    },
    refuse: (said: string, code = 1) => {
      writeFileSync(file('refuse'), said);
      writeFileSync(file('code'), String(code));
    },
  };
}
