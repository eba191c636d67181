/** Tells when this device must be left alone: in the air, nothing is loaded. */
export abstract class FlightGate {
  /** Whether images may not be loaded now. Cheap: it is asked each second. */
  abstract isClosed(): Promise<boolean>;
}
