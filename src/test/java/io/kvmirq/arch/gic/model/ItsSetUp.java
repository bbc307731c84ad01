/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static io.kvmirq.arch.gic.model.GuestTables.with;

import io.kvmirq.arch.gic.ItsCommand;
import java.nio.ByteBuffer;
import java.util.OptionalInt;
import org.junit.jupiter.api.BeforeEach;

/** An ITS with its ring and its tables in a memory of 1 MiB. */
abstract class ItsSetUp {
    static final int DEVICE = 8;
    static final int LPI = 8200;
    static final int COLLECTION = 3;
    static final int VCPUS = 3;

    final GuestTables ram = new GuestTables();
    final ByteBuffer memory = ram.memory;
    /** Counts no messages. */
    static final Lpis.Listener DEAF = new Lpis.Listener() {
        @Override
        public void arrived(int lpi) {}

        @Override
        public void ended(int lpi, String how) {}
    };

    final Lpis lpis = new Lpis(
            target -> target >= 0 && target < VCPUS ? OptionalInt.of(target) : OptionalInt.empty(),
            ram,
            () -> true,
            DEAF);
    final EmulatedIts service = new EmulatedIts(lpis);

    @BeforeEach
    void enable() {
        ram.enable(lpis, VCPUS, service);
    }

    void command(ItsCommand command, GuestTables.With... fields) {
        ram.command(service, command, fields);
    }

    void mapDevice(int device, int bits) {
        ram.mapDevice(service, device, bits);
    }

    void mapCollection(int collection, int vcpu, boolean valid) {
        ram.mapCollection(service, collection, vcpu, valid);
    }

    void mapEvent(int device, int event, int lpi, int collection) {
        ram.mapEvent(service, device, event, lpi, collection);
    }

    void onEvent(ItsCommand command, int event) {
        command(command, with(ItsCommand.DEVICE, DEVICE), with(ItsCommand.EVENT, event));
    }

    /** Event 1 of the device is the LPI at vCPU 1. */
    void map() {
        mapDevice(DEVICE, 5);
        mapCollection(COLLECTION, 1, true);
        mapEvent(DEVICE, 1, LPI, COLLECTION);
    }
}
