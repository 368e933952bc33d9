-- Ends the capture of invoice_lines; its history stays.

SELECT "public".threadline_release_v1(
    relation => to_regclass('"invoice_lines"'),
    target => 'invoice_lines',
    lock_timeout => '2s');
