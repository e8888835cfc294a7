/* Folders of pictures: PNG and JPEG in their many forms, grey and colour, resized, and damaged ones named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "files.h"
#include <jpeglib.h>
#include <png.h>

enum { SIDE = 4 };

static const uint8_t palette[2][3] = {{10, 20, 30}, {200, 100, 50}};

/* A PNG of side x side pixels whose rows are as libpng takes them for the colour type and depth. */
static void write_png(const char *name, int side, int type, int depth, int interlace, const uint8_t *bytes, size_t row)
{
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png_create_info_struct(png);
	FILE *file = fopen(in_folder(name), "wb");
	png_bytep rows[64];

	assert_non_null(file);
	for (int y = 0; y < side; y++)
		rows[y] = (png_bytep)bytes + (size_t)y * row;
	png_init_io(png, file);
	png_set_IHDR(png, info, (unsigned)side, (unsigned)side, depth, type, interlace, PNG_COMPRESSION_TYPE_DEFAULT,
		     PNG_FILTER_TYPE_DEFAULT);
	if (type == PNG_COLOR_TYPE_PALETTE) {
		png_color colours[2] = {{palette[0][0], palette[0][1], palette[0][2]},
					{palette[1][0], palette[1][1], palette[1][2]}};

		png_set_PLTE(png, info, colours, 2);
	}
	png_write_info(png, info);
	png_write_image(png, rows);
	png_write_end(png, NULL);
	png_destroy_write_struct(&png, &info);
	fclose(file);
}

static void write_jpeg(const char *name, int width, int height, int components, J_COLOR_SPACE space,
		       const uint8_t *bytes)
{
	struct jpeg_compress_struct jpeg;
	struct jpeg_error_mgr errors;
	FILE *file = fopen(in_folder(name), "wb");

	assert_non_null(file);
	jpeg.err = jpeg_std_error(&errors);
	jpeg_create_compress(&jpeg);
	jpeg_stdio_dest(&jpeg, file);
	jpeg.image_width = (unsigned)width;
	jpeg.image_height = (unsigned)height;
	jpeg.input_components = components;
	jpeg.in_color_space = space;
	jpeg_set_defaults(&jpeg);
	jpeg_set_quality(&jpeg, 100, TRUE);
	jpeg_start_compress(&jpeg, TRUE);
	while (jpeg.next_scanline < jpeg.image_height) {
		JSAMPROW line = (JSAMPROW)bytes + (size_t)jpeg.next_scanline * (size_t)(width * components);

		jpeg_write_scanlines(&jpeg, &line, 1);
	}
	jpeg_finish_compress(&jpeg);
	jpeg_destroy_compress(&jpeg);
	fclose(file);
}

static lw_dataset_options folder_set(const char *name, const char **path, int channels, int side)
{
	lw_dataset_options options;

	lw_dataset_defaults(&options);
	*path = in_folder(name);
	options.format = "images";
	options.paths = path;
	options.path_count = 1;
	options.channels = channels;
	options.height = options.width = side;
	return options;
}

static void make(const char *name) { assert_int_equal(mkdir(in_folder(name), 0755), 0); }

/* Byte k of sample i. */
static int byte_of(const lw_dataset *dataset, size_t index, size_t k)
{
	static float image[3 * 64 * 64];
	int32_t label;

	assert_int_equal(lw_dataset_sample(dataset, index, image, &label), LW_OK);
	return (int)(image[k] * 255 + 0.5f);
}

static int label_of(const lw_dataset *dataset, size_t index)
{
	static float image[3 * 64 * 64];
	int32_t label;

	assert_int_equal(lw_dataset_sample(dataset, index, image, &label), LW_OK);
	return label;
}

static int luma(int red, int green, int blue) { return (int)(0.299 * red + 0.587 * green + 0.114 * blue + 0.5); }

/* One class, one file for each form of PNG; the sorted names give the order. */
static void reads_every_png(void **state)
{
	uint8_t rgb[SIDE * SIDE * 3], rgba[SIDE * SIDE * 4], grey[SIDE * SIDE], deep[SIDE * SIDE * 2], bits[SIDE];
	const char *path;

	(void)state;
	for (int i = 0; i < SIDE * SIDE; i++) {
		for (int c = 0; c < 3; c++)
			rgb[3 * i + c] = rgba[4 * i + c] = (uint8_t)(i * 16 + c * 3);
		rgba[4 * i + 3] = (uint8_t)(i * 7);
		grey[i] = (uint8_t)(255 - i * 16);
		deep[2 * i] = deep[2 * i + 1] = grey[i];
	}
	for (int y = 0; y < SIDE; y++)
		bits[y] = y % 2 ? 0x50 : 0xa0; /* a chessboard */
	make("png");
	make("png/only");
	write_png("png/only/a.png", SIDE, PNG_COLOR_TYPE_RGB, 8, PNG_INTERLACE_NONE, rgb, SIDE * 3);
	write_png("png/only/b.PNG", SIDE, PNG_COLOR_TYPE_RGB, 8, PNG_INTERLACE_ADAM7, rgb, SIDE * 3);
	write_png("png/only/c.png", SIDE, PNG_COLOR_TYPE_RGBA, 8, PNG_INTERLACE_NONE, rgba, SIDE * 4);
	write_png("png/only/d.png", SIDE, PNG_COLOR_TYPE_GRAY, 8, PNG_INTERLACE_NONE, grey, SIDE);
	write_png("png/only/e.png", SIDE, PNG_COLOR_TYPE_GRAY, 16, PNG_INTERLACE_NONE, deep, SIDE * 2);
	write_png("png/only/f.png", SIDE, PNG_COLOR_TYPE_GRAY, 1, PNG_INTERLACE_NONE, bits, 1);
	write_png("png/only/g.png", SIDE, PNG_COLOR_TYPE_PALETTE, 1, PNG_INTERLACE_NONE, bits, 1);
	for (int channels = 1; channels <= 3; channels += 2) {
		lw_dataset_options options = folder_set("png", &path, channels, SIDE);
		lw_dataset *dataset = open_set(&options);

		assert_int_equal(lw_dataset_count(dataset), 7);
		for (size_t i = 0; i < SIDE * SIDE; i++)
			for (size_t c = 0; c < (size_t)channels; c++) {
				size_t k = i * (size_t)channels + c;
				int colour = channels == 3 ? rgb[3 * i + c]
							   : luma(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);
				bool lit = (i / SIDE + i % SIDE) % 2 == 0;

				for (size_t sample = 0; sample < 3; sample++)
					assert_int_equal(byte_of(dataset, sample, k), colour);
				assert_int_equal(byte_of(dataset, 3, k), grey[i]);
				assert_int_equal(byte_of(dataset, 4, k), grey[i]);
				assert_int_equal(byte_of(dataset, 5, k), lit ? 255 : 0);
				if (channels == 3)
					assert_int_equal(byte_of(dataset, 6, k), palette[lit][c]);
				else
					assert_int_equal(byte_of(dataset, 6, k),
							 luma(palette[lit][0], palette[lit][1], palette[lit][2]));
			}
		lw_dataset_close(&dataset);
	}
}

static void reads_every_jpeg(void **state)
{
	static const uint8_t colour[3] = {200, 100, 50};
	uint8_t rgb[64 * 3], grey[64], ink[64 * 4];
	const char *path;

	(void)state;
	for (int i = 0; i < 64; i++) {
		for (int c = 0; c < 3; c++)
			rgb[3 * i + c] = ink[4 * i + c] = colour[c];
		grey[i] = (uint8_t)(i * 4);
		ink[4 * i + 3] = 255; /* inverted: no black */
	}
	make("jpeg");
	make("jpeg/only");
	write_jpeg("jpeg/only/a.jpg", 8, 8, 3, JCS_RGB, rgb);
	write_jpeg("jpeg/only/b.JPEG", 8, 8, 1, JCS_GRAYSCALE, grey);
	write_jpeg("jpeg/only/c.jpg", 8, 8, 4, JCS_CMYK, ink);
	lw_dataset_options options = folder_set("jpeg", &path, 3, 8);
	lw_dataset *dataset = open_set(&options);

	for (size_t k = 0; k < 64 * 3; k++) {
		assert_in_range(byte_of(dataset, 0, k), colour[k % 3] - 2, colour[k % 3] + 2);
		assert_in_range(byte_of(dataset, 1, k) + 3, grey[k / 3], grey[k / 3] + 6);
		assert_in_range(byte_of(dataset, 2, k), colour[k % 3] - 2, colour[k % 3] + 2);
	}
	lw_dataset_close(&dataset);
}

/* The triangle filter's weights, by hand. */
static void resizes(void **state)
{
	static const uint8_t grey[16] = {0, 40, 80, 255, 0, 40, 80, 255, 0, 40, 80, 255, 0, 40, 80, 255};
	const char *path;

	(void)state;
	make("size");
	make("size/only");
	write_png("size/only/a.png", 4, PNG_COLOR_TYPE_GRAY, 8, PNG_INTERLACE_NONE, grey, 4);
	const struct {
		int side, row[8];
	} cases[] = {
		{1, {88}},	/* weights 5 7 7 5 of 24, clipped: (0*5 + 40*7 + 80*7 + 255*5) / 24 */
		{2, {29, 149}}, /* 3 3 1 of 7 and 1 3 3 of 7 */
		{4, {0, 40, 80, 255}},
		{8, {0, 10, 30, 50, 70, 124, 211, 255}}, /* 3 1 of 4 */
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		lw_dataset_options options = folder_set("size", &path, 1, cases[i].side);
		lw_dataset *dataset = open_set(&options);

		for (int k = 0; k < cases[i].side * cases[i].side; k++)
			assert_int_equal(byte_of(dataset, 0, (size_t)k), cases[i].row[k % cases[i].side]);
		lw_dataset_close(&dataset);
	}
	/* Height and width apart. */
	lw_dataset_options options = folder_set("size", &path, 1, 2);

	options.height = 3;
	lw_dataset *dataset = open_set(&options);

	for (size_t k = 0; k < 6; k++)
		assert_int_equal(byte_of(dataset, 0, k), k % 2 ? 149 : 29);
	lw_dataset_close(&dataset);
}

static void numbers_classes_by_name(void **state)
{
	static const char *const names[] = {"set/b", "set/a", "set/c", "set/.hidden"};
	uint8_t grey[1];
	const char *path;

	(void)state;
	make("set");
	for (int i = 0; i < 4; i++) {
		char name[64];

		make(names[i]);
		for (int k = 0; k < 2; k++) {
			snprintf(name, sizeof(name), "%s/%d.png", names[i], k);
			grey[0] = (uint8_t)(names[i][4] + k);
			write_png(name, 1, PNG_COLOR_TYPE_GRAY, 8, PNG_INTERLACE_NONE, grey, 1);
		}
	}
	write_bytes("set/readme.txt", "x", 1);
	write_bytes("set/a/notes.txt", "x", 1);
	lw_dataset_options options = folder_set("set", &path, 1, 1);

	options.net_classes = 3;
	lw_dataset *dataset = open_set(&options);

	assert_int_equal(lw_dataset_count(dataset), 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(label_of(dataset, i), i / 2);
		assert_int_equal(byte_of(dataset, i, 0), 'a' + i / 2 + i % 2);
	}
	lw_dataset_close(&dataset);

	options.classes = (const int[]){2, 0};
	options.class_count = 2;
	options.limit = 3;
	dataset = open_set(&options);
	assert_int_equal(lw_dataset_count(dataset), 3);
	assert_int_equal(label_of(dataset, 0), 1);
	assert_int_equal(label_of(dataset, 2), 0);
	assert_int_equal(byte_of(dataset, 2, 0), 'c');
	lw_dataset_close(&dataset);
	options.classes = (const int[]){2, 3};
	EXPECT_ERROR(&options, LW_E_ARGUMENT, "/set", "class 3 was asked for");
	options.class_count = 0;
	options.net_classes = 2;
	options.limit = 0;
	EXPECT_ERROR(&options, LW_E_FORMAT, "/set/c/0.png", "label 2, expected 0 to 1");
}

/* The file's content, its size returned, so that it can be damaged and written anew. */
static size_t content(const char *name, uint8_t *bytes, size_t room)
{
	FILE *file = fopen(in_folder(name), "rb");

	assert_non_null(file);
	size_t size = fread(bytes, 1, room, file);

	fclose(file);
	assert_true(size < room);
	return size;
}

static void names_damaged_pictures(void **state)
{
	static uint8_t rgb[32 * 32 * 3], bytes[8192];
	const char *path;
	size_t size;

	(void)state;
	for (size_t i = 0; i < sizeof(rgb); i++)
		rgb[i] = (uint8_t)(i * i >> 3);
	make("bad");
	lw_dataset_options options = folder_set("bad", &path, 3, 8);

	EXPECT_ERROR(&options, LW_E_FORMAT, "/bad", "expected a folder for each class");
	make("bad/only");
	EXPECT_ERROR(&options, LW_E_FORMAT, "/bad/only", "no .png, .jpg or .jpeg file");
	write_bytes("bad/only/x.png", "hello", 5);
	EXPECT_ERROR(&options, LW_E_FORMAT, "x.png", "neither a PNG nor a JPEG");
	write_bytes("bad/only/x.png", "", 0);
	EXPECT_ERROR(&options, LW_E_FORMAT, "x.png", "neither a PNG nor a JPEG");

	write_png("bad/only/x.png", 32, PNG_COLOR_TYPE_RGB, 8, PNG_INTERLACE_NONE, rgb, 32 * 3);
	size = content("bad/only/x.png", bytes, sizeof(bytes));
	for (size_t cut = 8; cut < size; cut += 97) {
		write_bytes("bad/only/x.png", bytes, cut);
		EXPECT_ERROR(&options, LW_E_FORMAT, "x.png", "damaged PNG file: ");
	}
	bytes[60] ^= 1;
	write_bytes("bad/only/x.png", bytes, size);
	EXPECT_ERROR(&options, LW_E_FORMAT, "x.png", "damaged PNG file: ");
	/* 983040 x 983040 pixels: the header's own checksum is right, which is where a bomb would begin. */
	static const uint8_t bomb[] = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\x0f\0\0\0\x0f\0\0\x08\x02\0\0\0\0\0\0";
	memcpy(bytes, bomb, sizeof(bomb));
	uLong sum = crc32(0, bytes + 12, 17);

	for (int i = 0; i < 4; i++)
		bytes[29 + i] = (uint8_t)(sum >> (24 - 8 * i));
	memcpy(bytes + 33, (uint8_t[]){0, 0, 0, 0, 'I', 'D', 'A', 'T', 0x35, 0xaf, 0x06, 0x1e}, 12);
	write_bytes("bad/only/x.png", bytes, 45);
	EXPECT_ERROR(&options, LW_E_FORMAT, "x.png", "983040x983040");
	unlink(in_folder("bad/only/x.png"));

	write_jpeg("bad/only/y.jpg", 32, 32, 3, JCS_RGB, rgb);
	size = content("bad/only/y.jpg", bytes, sizeof(bytes));
	for (size_t cut = 3; cut < size - 2; cut += 97) {
		write_bytes("bad/only/y.jpg", bytes, cut);
		EXPECT_ERROR(&options, LW_E_FORMAT, "y.jpg", "damaged JPEG file: ");
	}
	options.channels = 2;
	EXPECT_ERROR(&options, LW_E_ARGUMENT, "2 channels, but pictures give 1 or 3");
	options.channels = 3;
	path = in_folder("absent");
	EXPECT_ERROR(&options, LW_E_IO, "absent", "cannot open the folder");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_png),
		cmocka_unit_test(reads_every_jpeg),
		cmocka_unit_test(resizes),
		cmocka_unit_test(numbers_classes_by_name),
		cmocka_unit_test(names_damaged_pictures),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
