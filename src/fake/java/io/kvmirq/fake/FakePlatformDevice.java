/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.vfio.VfioPlatform;
import java.util.ArrayList;
import java.util.List;

/**
 * A platform device on a fake host, which programs use through VFIO. The device has one interrupt for each index, and
 * no registers. The methods act as the device's hardware. A method throws IllegalArgumentException if the interrupt at
 * {@code index} is missing or of the wrong kind. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="platform"}
 */
public final class FakePlatformDevice {
    private final FakeTime time;
    private final VfioPlatform device;

    private FakePlatformDevice(FakeTime time, VfioPlatform device) {
        this.time = time;
        this.device = device;
    }

    /** Builds a platform device. By default the device has no interrupts and no reset. */
    public static final class Builder {
        private final FakeKernel kernel;
        private final String name;
        private final int group;
        private final List<Boolean> levels = new ArrayList<>();
        private boolean resets;

        Builder(FakeKernel kernel, String name, int group) {
            this.kernel = kernel;
            this.name = name;
            this.group = group;
        }

        /** Adds a level-triggered interrupt at the next index. */
        public Builder level() {
            levels.add(true);
            return this;
        }

        /** Adds an edge-triggered interrupt at the next index. */
        public Builder edge() {
            levels.add(false);
            return this;
        }

        /** Adds a reset function. */
        public Builder resettable() {
            resets = true;
            return this;
        }

        /**
         * Adds the device to the host, bound to vfio-platform.
         *
         * @throws IllegalArgumentException if a device already has the name
         */
        public FakePlatformDevice add() {
            FakeTime time = kernel.time();
            return time.locked(() -> new FakePlatformDevice(time, kernel.vfio().add(name, group, levels, resets)));
        }
    }

    /** The device asserts the line of a level-triggered interrupt until {@link #serve}. */
    public void requestService(int index) {
        time.changing(() -> device.request(index));
    }

    /** The guest's driver serves the device, which deasserts the line. */
    public void serve(int index) {
        time.changing(() -> device.serve(index));
    }

    /** The device pulses an edge-triggered interrupt's line. Returns whether VFIO signalled the eventfd. */
    public boolean pulse(int index) {
        return time.changing(() -> device.pulse(index));
    }

    /**
     * The host removes the device once its files are closed ({@code vfio_unregister_group_dev()}). Returns false if one
     * is open.
     */
    public boolean remove() {
        return time.changing(device::remove);
    }
}
