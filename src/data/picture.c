/* PNG and JPEG pictures to RGB. Errors come back as a status: left alone, libpng and libjpeg would end the process. */
#include "data/data.h"
#include <jpeglib.h>
#include <jerror.h>
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

/* More is a bomb, not a picture. */
static const size_t max_pixels = (size_t)1 << 26;

struct decoder {
	const char *path;
	const uint8_t *data;
	size_t size, position;
	lw_picture *picture;
	struct jpeg_error_mgr jpeg_errors;
	jmp_buf jpeg_back;
	char message[JMSG_LENGTH_MAX];
};

static lw_status make_picture(struct decoder *decoder, size_t width, size_t height)
{
	if (width == 0 || height == 0 || width > max_pixels / height)
		return lw_fail(LW_E_FORMAT, "%s: a picture of %zux%zu, expected 1 to %zu pixels", decoder->path, width,
			       height, max_pixels);
	decoder->picture->width = (int)width;
	decoder->picture->height = (int)height;
	return lw_alloc(&decoder->picture->rgb, width * height, 3);
}

static void png_failed(png_structp png, png_const_charp text)
{
	struct decoder *decoder = png_get_error_ptr(png);

	snprintf(decoder->message, sizeof(decoder->message), "%s", text);
	longjmp(png_jmpbuf(png), 1);
}

static void png_warned(png_structp png, png_const_charp text)
{
	const struct decoder *decoder = png_get_error_ptr(png);

	lw_log(LW_LOG_DEBUG, "%s: %s", decoder->path, text);
}

static void png_wants_data(png_structp png, png_bytep data, size_t size)
{
	struct decoder *decoder = png_get_io_ptr(png);

	if (size > decoder->size - decoder->position)
		png_error(png, "truncated");
	memcpy(data, decoder->data + decoder->position, size);
	decoder->position += size;
}

/* From here to the end libpng may jump back to the setjmp: nothing local may change after it and be read then. */
static lw_status read_png(struct decoder *decoder, png_structp png, png_infop info)
{
	if (setjmp(png_jmpbuf(png)))
		return lw_fail(LW_E_FORMAT, "%s: damaged PNG file: %s", decoder->path, decoder->message);
	png_set_read_fn(png, decoder, png_wants_data);
	png_read_info(png, info);
	LW_TRY(make_picture(decoder, png_get_image_width(png, info), png_get_image_height(png, info)));
	png_set_palette_to_rgb(png);
	png_set_expand_gray_1_2_4_to_8(png);
	png_set_scale_16(png);
	png_set_strip_alpha(png);
	png_set_gray_to_rgb(png);
	int passes = png_set_interlace_handling(png);
	size_t row = (size_t)decoder->picture->width * 3;

	png_read_update_info(png, info);
	if (png_get_rowbytes(png, info) != row)
		png_error(png, "unexpected row size");
	for (int pass = 0; pass < passes; pass++)
		for (int y = 0; y < decoder->picture->height; y++)
			png_read_row(png, decoder->picture->rgb + (size_t)y * row, NULL);
	png_read_end(png, NULL);
	return LW_OK;
}

static lw_status decode_png(struct decoder *decoder)
{
	png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, decoder, png_failed, png_warned);
	png_infop info = png ? png_create_info_struct(png) : NULL;
	lw_status status;

	if (info)
		status = read_png(decoder, png, info);
	else
		status = lw_fail(LW_E_MEMORY, "%s: out of memory", decoder->path);
	png_destroy_read_struct(&png, &info, NULL);
	return status;
}

static void jpeg_failed(j_common_ptr common)
{
	struct decoder *decoder = common->client_data;

	common->err->format_message(common, decoder->message);
	longjmp(decoder->jpeg_back, 1);
}

/* Level -1 warns of data that libjpeg mends. It would also make up what a truncated file lacks: here an error. */
static void jpeg_said(j_common_ptr common, int level)
{
	struct decoder *decoder = common->client_data;

	if (level >= 0)
		return;
	common->err->format_message(common, decoder->message);
	if (common->err->msg_code == JWRN_JPEG_EOF)
		longjmp(decoder->jpeg_back, 1);
	lw_log(LW_LOG_DEBUG, "%s: %s", decoder->path, decoder->message);
}

/* Ink of print files: Adobe stores it inverted, so that plain multiplication with black gives light. */
static void ink_to_rgb(uint8_t *rgb, const uint8_t *ink, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t channel = 0; channel < 3; channel++)
			rgb[3 * i + channel] = (uint8_t)((ink[4 * i + channel] * ink[4 * i + 3] + 127) / 255);
}

/* As read_png: libjpeg may jump back to the setjmp. *row is the caller's to free. */
static lw_status read_jpeg(struct decoder *decoder, struct jpeg_decompress_struct *jpeg, uint8_t **row)
{
	lw_picture *picture = decoder->picture;

	if (setjmp(decoder->jpeg_back))
		return lw_fail(LW_E_FORMAT, "%s: damaged JPEG file: %s", decoder->path, decoder->message);
	jpeg_create_decompress(jpeg);
	jpeg_mem_src(jpeg, decoder->data, (unsigned long)decoder->size);
	jpeg_read_header(jpeg, TRUE);
	bool ink = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;

	jpeg->out_color_space = ink ? JCS_CMYK : JCS_RGB;
	jpeg->dct_method = JDCT_ISLOW; /* the one whose bits do not depend on the processor */
	LW_TRY(make_picture(decoder, jpeg->image_width, jpeg->image_height));
	LW_TRY(lw_alloc(row, (size_t)picture->width, 4));
	jpeg_start_decompress(jpeg);
	while (jpeg->output_scanline < jpeg->output_height) {
		uint8_t *rgb = picture->rgb + (size_t)jpeg->output_scanline * (size_t)picture->width * 3;
		JSAMPROW line = ink ? *row : rgb;

		jpeg_read_scanlines(jpeg, &line, 1);
		if (ink)
			ink_to_rgb(rgb, line, (size_t)picture->width);
	}
	jpeg_finish_decompress(jpeg);
	return LW_OK;
}

static lw_status decode_jpeg(struct decoder *decoder)
{
	struct jpeg_decompress_struct jpeg = {0};
	uint8_t *row = NULL;
	lw_status status;

	jpeg.err = jpeg_std_error(&decoder->jpeg_errors);
	jpeg.err->error_exit = jpeg_failed;
	jpeg.err->emit_message = jpeg_said;
	jpeg.client_data = decoder;
	status = read_jpeg(decoder, &jpeg, &row);
	jpeg_destroy_decompress(&jpeg);
	free(row);
	return status;
}

lw_status lw_picture_decode(lw_picture *picture, const char *path, const void *data, size_t size)
{
	static const uint8_t png[] = {0x89, 'P', 'N', 'G'}, jpeg[] = {0xff, 0xd8, 0xff};
	struct decoder decoder = {.path = path, .data = data, .size = size, .picture = picture};
	lw_status status;

	*picture = (lw_picture){0};
	if (size >= sizeof(png) && memcmp(data, png, sizeof(png)) == 0)
		status = decode_png(&decoder);
	else if (size >= sizeof(jpeg) && memcmp(data, jpeg, sizeof(jpeg)) == 0)
		status = decode_jpeg(&decoder);
	else
		status = lw_fail(LW_E_FORMAT, "%s: neither a PNG nor a JPEG file, by its first bytes", path);
	if (status != LW_OK) {
		free(picture->rgb);
		*picture = (lw_picture){0};
	}
	return status;
}
