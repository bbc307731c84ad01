/* SPDX-License-Identifier: Apache-2.0 */
/** Events for JDK Flight Recorder. Only {@code Events.Recorder} needs the module jdk.jfr, which may be absent. */
@NullMarked
package io.kvmirq.events;

import org.jspecify.annotations.NullMarked;
