import type { Outcome } from './outcome.ts';

/**
 * Every command by the name of its function. Its code is read when it is run for the first time: what `run` does not
 * need is neither compiled at its start nor held in memory for years.
 */
export const explainCommand = later(async () => (await import('./agent-commands.ts')).explainCommand);
export const reloadCommand = later(async () => (await import('./agent-commands.ts')).reloadCommand);
export const statusCommand = later(async () => (await import('./agent-commands.ts')).statusCommand);
export const topCommand = later(async () => (await import('./agent-commands.ts')).topCommand);
export const alarmsCommand = later(async () => (await import('./alarm-commands.ts')).alarmsCommand);
export const backupCommand = later(async () => (await import('./backup-commands.ts')).backupCommand);
export const restoreCommand = later(async () => (await import('./backup-commands.ts')).restoreCommand);
export const checkCommand = later(async () => (await import('./config-commands.ts')).checkCommand);
export const sampleCommand = later(async () => (await import('./config-commands.ts')).sampleCommand);
export const schemaCommand = later(async () => (await import('./config-commands.ts')).schemaCommand);
export const demoCommand = later(async () => (await import('./demo-command.ts')).demoCommand);
export const gpuCommand = later(async () => (await import('./device-commands.ts')).gpuCommand);
export const minerCommand = later(async () => (await import('./device-commands.ts')).minerCommand);
export const doctorCommand = later(async () => (await import('./doctor-command.ts')).doctorCommand);
export const historyCommand = later(async () => (await import('./history-commands.ts')).historyCommand);
export const logCommand = later(async () => (await import('./history-commands.ts')).logCommand);
export const initCommand = later(async () => (await import('./init-command.ts')).initCommand);
export const meterCommand = later(async () => (await import('./meter-command.ts')).meterCommand);
export const modbusReadCommand = later(async () => (await import('./meter-command.ts')).modbusReadCommand);
export const mqttCaptureCommand = later(async () => (await import('./mqtt-capture.ts')).mqttCaptureCommand);
export const mqttTestCommand = later(async () => (await import('./mqtt-commands.ts')).mqttTestCommand);
export const mqttWatchCommand = later(async () => (await import('./mqtt-commands.ts')).mqttWatchCommand);
export const limitCommand = later(async () => (await import('./order-commands.ts')).limitCommand);
export const localCommand = later(async () => (await import('./order-commands.ts')).localCommand);
export const orderCommand = later(async () => (await import('./order-commands.ts')).orderCommand);
export const planCommand = later(async () => (await import('./plan-command.ts')).planCommand);
export const replayCommand = later(async () => (await import('./replay-command.ts')).replayCommand);
export const reportCommand = later(async () => (await import('./report-command.ts')).reportCommand);
export const runCommand = later(async () => (await import('./run-command.ts')).runCommand);
export const scanCommand = later(async () => (await import('./scan-command.ts')).scanCommand);
export const simulateCommand = later(async () => (await import('./simulate-command.ts')).simulateCommand);
export const supportCommand = later(async () => (await import('./support-command.ts')).supportCommand);
export const topologyCommand = later(async () => (await import('./topology-command.ts')).topologyCommand);
export const transferCommand = later(async () => (await import('./transfer-command.ts')).transferCommand);

/** A command whose module is loaded at its first call. */
function later<Args extends unknown[]>(
  load: () => Promise<(...args: Args) => Outcome | Promise<Outcome>>,
): (...args: Args) => Promise<Outcome> {
  return async (...args) => (await load())(...args);
}
