/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import java.util.OptionalInt;

/**
 * A message to an ITS.
 *
 * @param doorbell the address that it is written to
 * @param event its data, the event id
 * @param device the device id; empty if the VMM did not give one
 */
record ArmMessage(long doorbell, int event, OptionalInt device) {}
