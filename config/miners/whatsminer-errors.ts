/** Whatsminer error codes that need words; the rest are named by their class. Source: Whatsminer API 2.0.x. */
const MESSAGES: Readonly<Record<string, string>> = {
  '110': 'Intake fan speed error.',
  '111': 'Exhaust fan speed error.',
  '120': 'Intake fan speed error: off by more than 2000 rpm.',
  '121': 'Exhaust fan speed error: off by more than 2000 rpm.',
  '130': 'Intake fan speed error: off by more than 3000 rpm.',
  '131': 'Exhaust fan speed error: off by more than 3000 rpm.',
  '140': 'Fan speed too high.',
  '200': 'No power supply found.',
  '201': 'Power supply does not match the configuration.',
  '203': 'Power supply protecting: environment temperature is high.',
  '204': 'Power supply protecting: environment temperature is high.',
  '205': 'Power supply current error.',
  '206': 'Power supply input voltage is low.',
  '207': 'Power supply input current protection.',
  '210': 'Power supply error.',
  '213': 'Power supply input and output differ.',
  '217': 'Power supply enable error.',
  '218': 'Power input voltage is lower than 230V for high power mode.',
  '233': 'Power supply output over temperature.',
  '239': 'Power supply output over voltage.',
  '240': 'Power supply output under voltage.',
  '241': 'Power supply output currents are not balanced.',
  '250': 'Power supply input under voltage.',
  '251': 'Power supply input under voltage.',
  '263': 'Power supply communication warning.',
  '264': 'Power communication error.',
  '265': 'Power unknown error.',
  '267': 'Power supply watchdog protection.',
  '268': 'Power supply output over current.',
  '269': 'Power supply input over current.',
  '270': 'Power supply input over voltage.',
  '271': 'Power supply input under voltage.',
  '329': 'Control board temperature sensor error.',
  '370': 'Environment temperature fluctuates.',
  '600': 'Environment temperature is too high.',
  '610': 'Environment temperature is too high for high performance mode.',
  '700': 'MAC address is invalid.',
  '713': 'Network is unstable.',
  '2000': 'No pool is set.',
  '2010': 'All pools are disabled.',
  '2030': 'High reject rate.',
  '2310': 'Hashrate is too low.',
  '2320': 'Hashrate is too low.',
};

const CLASSES: readonly (readonly [RegExp, string])[] = [
  [/^1\d\d$/, 'Fan error.'],
  [/^2\d\d$/, 'Power supply error.'],
  [/^3[0-2]\d$/, 'Board temperature sensor error.'],
  [/^38\d$/, 'Humidity sensor error.'],
  [/^3\d\d$/, 'Board temperature protection.'],
  [/^4\d\d$/, 'Hash board EEPROM error.'],
  [/^5\d\d$/, 'Hash board error.'],
  [/^8\d\d$/, 'Checksum error.'],
  [/^202\d$/, 'Connection to a pool failed.'],
  [/^507\d$/, 'Cooling water flow error.'],
  [/^5[0-6]\d+$/, 'Hash board chip error.'],
  [/^1[01]\d{4}$/, 'File or security error.'],
];

/** What an error code means, one sentence. */
export function whatsminerErrorMessage(code: string): string {
  return (
    MESSAGES[code] ?? CLASSES.find(([pattern]) => pattern.test(code))?.[1] ?? `Whatsminer error code ${code}.`
  );
}
