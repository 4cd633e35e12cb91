// A Java program as a target: a large array in the heap of which a part is hot, as tests/guest/program.c has it.
//
// java -XX:-UseCompressedOops -XX:+UseSerialGC HotArray MIB HOT_SHARE NODE progress=FILE
//
// NODE is not used: Java cannot bind its memory. The array is larger than the young generation, so it begins in the old
// one, and as nothing else is allocated, it stays where it is. Hot elements are read and written in random order.

import java.lang.reflect.Field;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.SplittableRandom;
import sun.misc.Unsafe;

public class HotArray {
    static final int RUN = 512; // pages: the heap gets huge ones
    static final int PAGE_LONGS = 4096 / Long.BYTES;

    static long addressOf(Object object) throws ReflectiveOperationException {
        Field field = Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        Unsafe unsafe = (Unsafe) field.get(null);
        Object[] holder = {object};
        return unsafe.getLong(holder, unsafe.arrayBaseOffset(Object[].class));
    }

    public static void main(String[] words) throws Exception {
        int pages = Integer.parseInt(words[0]) << 8;
        int every = (int) Math.round(1 / Double.parseDouble(words[1]));
        Path progress = Path.of(words[3].substring("progress=".length()));
        Path written = Path.of(progress + ".new");
        long[] array = new long[(pages + RUN) * PAGE_LONGS];
        java.util.Arrays.fill(array, 1);
        long first = addressOf(array) + Unsafe.ARRAY_LONG_BASE_OFFSET;
        int skip = (int) (-first & (RUN * 4096 - 1)) / Long.BYTES;
        System.out.printf("{\"pid\": %d, \"start\": %d, \"pages\": %d, \"run\": %d, \"every\": %d}%n",
            ProcessHandle.current().pid(), first + skip * Long.BYTES, pages, RUN, every);
        System.out.flush();
        SplittableRandom random = new SplittableRandom(1);
        int runs = pages / RUN / every;
        for (long passes = 1; ; passes++) {
            for (int touch = 0; touch < 200_000; touch++) {
                int page = random.nextInt(runs) * every * RUN + random.nextInt(RUN);
                array[skip + page * PAGE_LONGS + random.nextInt(PAGE_LONGS)]++;
            }
            Files.writeString(written, passes + " " + System.nanoTime() / 1e9 + "\n");
            Files.move(written, progress, StandardCopyOption.ATOMIC_MOVE);
        }
    }
}
