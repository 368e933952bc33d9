DROP TABLE invoice_lines;
DROP TABLE invoices;
DROP TABLE customers;
DROP TYPE invoice_status;
