import type { Command } from 'commander';
import { mqttCaptureCommand, mqttTestCommand, mqttWatchCommand } from './commands.ts';
import type { ActionMaker } from './program.ts';

/** `mqtt test`, `mqtt watch`, `mqtt capture`. */
export function addMqttCommands(program: Command, action: ActionMaker): void {
  const mqtt = program.command('mqtt').description('the broker');
  mqtt
    .command('test')
    .option('--url <url>', 'instead of the configured broker')
    .description('connection, credentials and a round trip')
    .action(action('mqtt test', (context, options: { url?: string }) => mqttTestCommand(context, options)));
  mqtt
    .command('watch [topic]')
    .option('--url <url>', 'instead of the configured broker')
    .description('messages as they come')
    .action(
      action('mqtt watch', (context, topic: string | undefined, options: { url?: string }) =>
        mqttWatchCommand(context, options, topic),
      ),
    );
  mqtt
    .command('capture <file>')
    .option('--url <url>', 'instead of the configured broker')
    .option('--topic <filter>', 'what to write down', 'spBv1.0/#')
    .option('--for <duration>', 'how long; without it, until Ctrl-C')
    .option('--name <name>', 'name of the capture', 'capture')
    .description('write messages down for programs that judge them, Sparkplug by default')
    .action(
      action(
        'mqtt capture',
        (context, file: string, options: { url?: string; topic: string; for?: string; name: string }) =>
          mqttCaptureCommand(context, file, options),
      ),
    );
}
