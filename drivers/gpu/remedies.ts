/** What a tool on a GPU node says when it cannot work, and what a technician does about it. */
const REMEDIES: readonly (readonly [said: RegExp, remedy: string])[] = [
  [
    /Driver\/library version mismatch/i,
    'The driver was updated and the old one is still loaded: reload the NVIDIA kernel modules, or reboot the node.',
  ],
  [
    /couldn't communicate with the NVIDIA driver|NVML.*(not found|driver not loaded)/i,
    'The NVIDIA driver is not loaded there: `lsmod | grep nvidia` and `dmesg` say why.',
  ],
  [
    /No devices were found/i,
    'No GPU is visible there: check `lspci | grep -i nvidia`, its power, and what the container may see.',
  ],
  [
    /Insufficient Permissions/i,
    'Caps need root on the node: let the command begin with `sudo -n`, and allow that user this one program.',
  ],
  [
    /GPU is lost|Unable to determine the device handle/i,
    'A GPU fell off the bus: `dmesg | grep -i xid` names it; drain the node and reset or reseat it.',
  ],
  [
    /Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED/i,
    "The node's host key is unknown, or another one than before: compare it at the node itself, then enter it into the known_hosts of the user that runs the agent.",
  ],
  [
    /Permission denied \(/i,
    'The node does not accept the key of the user that runs the agent: put its public key into authorized_keys there.',
  ],
  [
    /ssh: connect to host|Connection (refused|timed out|closed|reset)|No route to host/i,
    'Nobody answers to ssh there: check that the node is on, its address, and `systemctl status ssh`.',
  ],
  [/Could not resolve hostname/i, 'The name of the node is not known here: check its spelling and the DNS.'],
  [
    /sudo: a password is required|is not in the sudoers/i,
    'Allow the user this one program without a password, in a file of its own below /etc/sudoers.d.',
  ],
  [
    /cannot be started: ENOENT|(command not found|No such file or directory)/i,
    'It is not installed, or lies elsewhere: install it there, or write its whole path in `command`.',
  ],
  [/cannot be started: EACCES/i, 'The user that runs the agent may not start it: check owner and mode.'],
];

/** What to do about what a tool said; `undefined`: it is not known. Pure. */
export function remedyFor(said: string): string | undefined {
  return REMEDIES.find(([pattern]) => pattern.test(said))?.[1];
}
