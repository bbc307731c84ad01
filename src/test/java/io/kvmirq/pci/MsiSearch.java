/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.testing.Choices;
import java.util.BitSet;
import java.util.List;

/** A search of MSI with 64-bit addresses and masks. All vectors share a message. */
public final class MsiSearch extends MessageSearch {
    private static final int CONTROL = 2;
    private static final int ADDRESS = 4;
    private static final int UPPER_ADDRESS = 8;
    private static final int DATA = 12;
    private static final int MASKS = 16;
    private static final int FIRST = 0x40;
    private static final int BLOCK = 8;

    private final GuestMsi msi;
    private final int max;
    private final BitSet masked = new BitSet();
    private int log;
    private int vcpu;
    private int data;

    /** @param vectors 1, 2, 4 or 8 */
    public MsiSearch(Device device, GuestMsi msi, int vectors, Choices random) {
        this(device, msi, vectors, false, random);
    }

    MsiSearch(Device device, GuestMsi msi, int vectors, boolean lazy, Choices random) {
        super(device, vectors, lazy, random);
        this.msi = msi;
        this.max = Integer.numberOfTrailingZeros(vectors);
        message();
    }

    @Override
    void step(int vector) {
        switch (random.nextInt(14)) {
            case 0, 1 -> message();
            case 2, 3, 4 -> mask(vector, random.nextBoolean());
            case 5 -> maskAll(random.nextInt(1 << vectors));
            case 6 -> control(true, random.nextInt(3) == 0 ? random.nextInt(max + 1) : log);
            case 7 -> control(random.nextInt(3) > 0, log);
            case 8 -> {
                if (!enabled) {
                    control(true, random.nextInt(max + 1));
                }
            }
            case 9 -> {
                if (random.nextInt(6) == 0) {
                    reset();
                }
            }
            case 10 -> {
                msi.write(random.nextInt(24, 40), 1 << random.nextInt(3), random.nextInt());
                msi.write(random.nextInt(-8, 0), 1 << random.nextInt(2), random.nextInt());
                msi.write(20, 4, random.nextInt());
                msi.write(CONTROL, 3, random.nextInt());
                check(List.of());
            }
            default -> send(random.nextInt(count()));
        }
    }

    @Override
    void openAll() {
        maskAll(0);
        control(true, max);
    }

    private int count() {
        return 1 << log;
    }

    @Override
    boolean isOpen(int vector) {
        return enabled && vector < count() && !masked.get(vector);
    }

    @Override
    String target(int vector) {
        return vcpu + ":0x" + Integer.toHexString(data & -count() | vector);
    }

    @Override
    boolean knowsPending(int vector) {
        return true;
    }

    /** Writes the message in one of the ways of guests. */
    private void message() {
        vcpu = random.nextInt(2);
        data = FIRST + random.nextInt(16 * BLOCK);
        random.note("message " + target(0));
        MsiMessage message = MsiMessage.to(new VcpuId(vcpu), new InterruptVector(data));
        int address = (int) message.address();
        switch (random.nextInt(3)) {
            case 0 -> {
                msi.write(ADDRESS, 4, address);
                msi.write(UPPER_ADDRESS, 4, 0);
                msi.write(DATA, 2, message.data());
            }
            case 1 -> {
                msi.write(DATA, 4, message.data());
                msi.write(ADDRESS + 2, 2, address >>> 16);
                msi.write(ADDRESS, 2, address);
            }
            default -> {
                for (int i = 0; i < 4; i++) {
                    msi.write(ADDRESS + i, 1, address >>> 8 * i);
                }
                msi.write(DATA + 1, 1, message.data() >>> 8);
                msi.write(DATA, 1, message.data());
            }
        }
        check(List.of());
    }

    private void mask(int vector, boolean masks) {
        random.note((masks ? "mask " : "unmask ") + vector);
        masked.set(vector, masks);
        msi.write(MASKS + vector / 8, 1, masks());
        opened();
    }

    private int masks() {
        return masked.isEmpty() ? 0 : (int) masked.toLongArray()[0];
    }

    private void maskAll(int masks) {
        random.note("masks 0x" + Integer.toHexString(masks));
        masked.clear();
        masked.or(BitSet.valueOf(new long[] {masks}));
        msi.write(MASKS, 4, masks);
        opened();
    }

    private void control(boolean enables, int to) {
        random.note((enables ? "enable " : "disable ") + (1 << to));
        if (enabled && enables && to != log && !msi.vectors.keepsPending()) {
            pending.set(0, 1 << Math.min(log, to)); // the device was silent meanwhile
        }
        enabled = enables;
        log = to;
        msi.write(CONTROL, 2, (enables ? 1 : 0) | to << 4);
        opened();
    }

    private void reset() {
        random.note("reset");
        msi.reset();
        device.reset();
        enabled = false;
        log = 0;
        masked.clear();
        pending.clear();
        check(List.of());
        message();
    }
}
